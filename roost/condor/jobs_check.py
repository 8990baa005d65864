"""Check a file of jobs against a recipe: disks and addresses that work, values that can be passed on. Pure.

`inv io` and `inv submit` both use it, so that nothing is made for a job that could not be submitted.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from roost.condor import jobs_rows
from roost.condor.from_recipe import base_name, is_url
from roost.condor.jobs_file import Jobs, variable_of
from roost.condor.machine import VmDisk
from roost.condor.placement import INITRD, KERNEL, kernel_of, vm_disks
from roost.condor.vm_disk import problem_of
from roost.errors import Location, Problem, RecipeError
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe

#: File name extensions that state a format; `inv lint` relies on them.
_ENDINGS = frozenset(
    {"raw", "qcow2", "vmdk", "vdi", "vhd", "gz", "xz", "zst", "zstd", "bz2", "lz4", "lzma", "zip", "7z"}
)


def check_jobs(jobs: Jobs, recipe: Recipe, transfer: str | None = None) -> None:
    """Raise `RecipeError` with everything in `jobs` that a submit description of the recipe cannot express.

    `transfer` is files, shared or a URL, by default the recipe's. The image need not be built.
    """
    mode = recipe.submit.transfer if transfer is None else transfer
    found = [problem for name in recipe.hypervisors for problem in disk_problems(recipe, name, mode, jobs)]
    found += value_problems(recipe, jobs)
    if found:
        raise RecipeError(list(dict.fromkeys(found)))


def disk_problems(recipe: Recipe, hypervisor: Hypervisor, transfer: str, jobs: Jobs) -> Iterator[Problem]:
    """Yield the problems of the jobs' disks and addresses on the machines of one hypervisor."""
    disks = vm_disks(recipe, hypervisor)
    taken = {disk.file for disk in disks.values()}
    taken |= {KERNEL, INITRD} if kernel_of(recipe, hypervisor) else set()
    columns: dict[str, str] = {}
    for name, disk in disks.items():
        column = jobs.named(variable_of(name))
        if column is not None:
            other = columns.setdefault(column, name)
            if other != name:
                yield Problem(f"the column {column} is that of two disks, {other} and {name}", Location(jobs.file, 1))
            yield from _per_job(column, disk, hypervisor, transfer, jobs, taken - {disk.file})
    yield from _addresses(recipe, jobs)


def value_problems(recipe: Recipe, jobs: Jobs) -> Iterator[Problem]:
    """Yield the values used by the recipe's commands and attributes that a submit description cannot express."""
    lines = [f"{name} = {value}" for name, value in recipe.submit.commands.items()]
    lines += [f'+{name} = "{value}"' for name, value in recipe.submit.attributes.items() if isinstance(value, str)]
    where = [Location(jobs.file, line) for line in jobs.lines]
    yield from jobs_rows.problems(jobs.variables, jobs.rows, jobs_rows.uses(lines), where)


def _per_job(
    column: str, disk: VmDisk, hypervisor: Hypervisor, transfer: str, jobs: Jobs, taken: set[str]
) -> Iterator[Problem]:
    seen: dict[str, int] = {}
    others = {base_name(value) for variable in jobs.variables for value in jobs.column(variable) if variable != column}
    for number, value in enumerate(jobs.column(column)):
        path = value if transfer == "shared" else base_name(value)
        if not value:
            yield jobs.problem(number, f"the column {column} names no file")
        elif transfer == "shared" and not value.startswith("/"):
            yield jobs.problem(number, f"{value!r} is not absolute, and the jobs' machines start elsewhere")
        elif is_url(value) or not re.fullmatch(r"[A-Za-z0-9._+/-]+", value):
            yield jobs.problem(number, f"the disk {value!r} may only have the characters A-Z a-z 0-9 . _ + - /")
        elif problem := problem_of(replace(disk, file=path), hypervisor):
            yield jobs.problem(number, problem)
        elif base_name(value) in taken or (base_name(value) in others and transfer != "shared"):
            yield jobs.problem(number, f"{value!r} would overwrite another file of the sandbox, which is flat")
        elif (ending := value.rpartition(".")[2].lower()) in _ENDINGS and ending != disk.format and "." in value:
            name = f"{base_name(value).rpartition('.')[0]}.{disk.format}"
            yield jobs.problem(number, f"the disk {value!r} is {disk.format}: name it {name}")
        elif transfer == "shared" and disk.permission == "w" and value in seen:
            first = jobs.lines[seen[value]]
            yield jobs.problem(number, f"{value!r} is the disk of line {first} too, and both jobs would write it")
        seen.setdefault(value, number)


def _addresses(recipe: Recipe, jobs: Jobs) -> Iterator[Problem]:
    column = jobs.named("mac")
    if column is None:
        if recipe.machine.mac not in (None, "auto") and len(jobs.rows) > 1:
            what = f"{len(jobs.rows)} jobs would have the address {recipe.machine.mac} together"
            yield Problem(what, hint="write `mac: auto`, or give a column mac")
        return
    seen: set[str] = set()
    for number, value in enumerate(jobs.column(column)):
        if not re.fullmatch(r"[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}", value) or int(value[:2], 16) & 1:
            yield jobs.problem(number, f"{value!r} is not an address of one machine", "such as 52:54:00:12:34:56")
        elif value.lower() in seen:
            yield jobs.problem(number, f"the address {value} is another job's too")
        seen.add(value.lower())
