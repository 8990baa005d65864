"""Where each disk of a submission is, which files are transferred, and the names of returned files. Pure.

There are three modes: `files` (HTCondor transfers them; vm_disk has basenames, because the sandbox is flat), `shared`
(absolute paths that every machine sees; nothing is transferred), and a URL of the directory (plugins fetch the files;
vm_disk has basenames). A file of jobs gives each job its own disks; they are named relative to the file of jobs.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from roost.condor import remaps
from roost.condor.from_recipe import BuiltFiles, base_name, is_url
from roost.condor.jobs_check import disk_problems, value_problems
from roost.condor.jobs_file import Jobs, variable_of
from roost.condor.machine import MachineKernel, VmDisk
from roost.condor.placement import INITRD, KERNEL, kernel_of, vm_disks
from roost.condor.vm_disk import format_disks, problem_of
from roost.errors import Problem
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Disk, MiB, Recipe

#: qcow2 metadata: 8 bytes per 64 KiB cluster for its location and 2 for its reference count, plus headers.
_QCOW2_SHARE, _QCOW2_FIXED = 4096, MiB


@dataclass(frozen=True, slots=True)
class Place:
    """A disk of a submission: `disk` as the build has it, `file` as libvirt opens it (a macro for per-job disks).

    `source` is the item of transfer_input_files, None on a shared file system. `output` is its name in the sandbox
    and `returned` the name it is returned under: unique per job, so that an input is never overwritten.
    """

    name: str
    disk: VmDisk
    file: str
    source: str | None
    output: str
    returned: str
    variable: str | None


def source_of(name: str, transfer: str) -> str:
    """Return the item of transfer_input_files for a file of the build."""
    return f"{transfer.rstrip('/')}/{name}" if is_url(transfer) else name


def absolute(name: str, files: BuiltFiles) -> str:
    """Return the path of a file of the build that every machine sees."""
    return str(files.directory / name) if files.directory else name


def places(
    recipe: Recipe,
    hypervisor: Hypervisor,
    transfer: str,
    files: BuiltFiles,
    jobs: Jobs | None,
    output_directory: str = "",
) -> tuple[Place, ...]:
    """Return the place of each disk, in vm_disk's order; `problems` has the reasons against them."""
    prefix = f"{output_directory.rstrip('/')}/" if output_directory else ""
    names = remaps.chosen(recipe, hypervisor)
    found = []
    for name, disk in vm_disks(recipe, hypervisor).items():
        variable = jobs.named(variable_of(name)) if jobs else None
        shared = transfer == "shared"
        chosen = names.get(name)
        if chosen and not chosen.startswith("/") and not is_url(chosen):
            chosen = prefix + chosen
        if variable:
            value = f"$({variable})"
            inside = f"$Fnx({variable})"
            returned = chosen or f"{prefix}$Fn({variable})-$(Cluster).$(Process)$Fx({variable})"
            place = Place(
                name, disk, value if shared else inside, None if shared else value, inside, returned, variable
            )
        else:
            returned = chosen or f"{prefix}{name}-$(Cluster).$(Process).{disk.format}"
            file = absolute(disk.file, files) if shared else disk.file
            source = None if shared else source_of(disk.file, transfer)
            place = Place(name, disk, file, source, disk.file, returned, None)
        found.append(place)
    return tuple(found)


def vm_disk(found: Iterable[Place], hypervisor: Hypervisor) -> str:
    """Return the value of vm_disk; a per-job disk is a macro whose values `problems` has checked."""
    items = []
    for place in found:
        disk = replace(place.disk, file=place.disk.file if place.variable else place.file)
        items.append(format_disks([disk], hypervisor))
        if place.variable:
            items[-1] = place.file + items[-1][len(disk.file) :]
    return ",".join(items)


def kernel_names(kernel: MachineKernel | None) -> list[str]:
    """Return the files of a kernel beside the image."""
    return [name for name in (kernel.kernel, kernel.initrd) if name] if kernel else []


def kernel_path(name: str, recipe: Recipe, files: BuiltFiles) -> str | None:
    """Return the path of a kernel file (KERNEL or INITRD) on the execution points, or None if it is not known.

    Never in the sandbox: HTCondor passes its script the bare name, and libxl does not find it (docs/vm-universe.md, 5).
    """
    given = recipe.submit.kernel_path
    if given is None:
        found = files.kernels.get(name)
        return found if found or files.directory is None else str(files.directory / name)
    directory, _, base = given.rpartition("/")
    if not base.startswith("vmlinuz"):
        return f"{given.rstrip('/')}/{name}"
    return given if name == KERNEL else f"{directory}/{INITRD}{base.removeprefix(KERNEL)}"


def backing_files(found: Iterable[Place], files: BuiltFiles) -> list[str]:
    """Return the base images that overlays need, each once, including the bases of bases."""
    bases: list[str] = []
    for place in found:
        name: str | None = place.disk.file
        while name is not None and (name := files.backing.get(name)) is not None and name not in bases:
            bases.append(name)
    return bases


def label(name: str, found: Iterable[Place], inputs: Iterable[str], jobs: Jobs | None) -> str:
    """Return the executable: the recipe's name, unless a file has that name, which HTCondor would then not return."""
    taken = {base_name(item) for item in inputs} | {place.disk.file for place in found}
    if jobs:
        taken |= {base_name(value) for row in jobs.rows for value in row}
    while name in taken:
        name += "-job"
    return name


def disk_space(
    found: Iterable[Place], extra: Iterable[str], recipe: Recipe, files: BuiltFiles, jobs: Jobs | None
) -> int:
    """Return the maximum size of the sandbox in bytes: disks at their virtual sizes, other files at their own.

    A disk that is not built counts with the size in the recipe. A checkpoint stores the memory in the sandbox.
    """
    total = MiB + sum(files.sizes.get(name, 0) for name in extra)
    promised = {disk.name: _promised(disk) for disk in recipe.disks}
    for place in found:
        if place.source is None:
            continue
        size = files.sizes.get(place.disk.file, promised[place.name])
        if place.variable and jobs:
            size = max([size, *(jobs.sizes.get(value, 0) for value in jobs.column(place.variable))])
        total += size + (size // _QCOW2_SHARE + _QCOW2_FIXED if place.disk.format == "qcow2" else 0)
    return total + (recipe.machine.memory if recipe.submit.checkpoint else 0)


def _promised(disk: Disk) -> int:
    return sum(area.size or area.free or 0 for area in disk.areas) + 2 * MiB


def problems(
    recipe: Recipe, hypervisor: Hypervisor, transfer: str, files: BuiltFiles, jobs: Jobs | None
) -> Iterator[Problem]:
    """Yield the reasons against these places: paths that HTCondor misreads, jobs that would write one disk together."""
    disks = vm_disks(recipe, hypervisor)
    if transfer == "shared":
        yield from _shared_problems(disks, hypervisor, files, jobs)
    for name in kernel_names(kernel_of(recipe, hypervisor)):
        yield from _kernel_problems(name, kernel_path(name, recipe, files))
    if jobs is None:
        return
    yield from disk_problems(recipe, hypervisor, transfer, jobs)
    yield from value_problems(recipe, jobs)


def _shared_problems(
    disks: dict[str, VmDisk],
    hypervisor: Hypervisor,
    files: BuiltFiles,
    jobs: Jobs | None,
) -> Iterator[Problem]:
    if files.directory is None or not files.directory.is_absolute():
        yield Problem("transfer: shared needs the absolute directory of the built image", hint="build the image first")
        return
    for name, disk in disks.items():
        if problem := problem_of(replace(disk, file=absolute(disk.file, files)), hypervisor):
            yield Problem(problem, hint="move the image, or use another way to transfer")
        per_job = jobs is not None and jobs.named(variable_of(name)) is not None
        if jobs and len(jobs.rows) > 1 and disk.permission == "w" and not per_job:
            what = f"{len(jobs.rows)} jobs would write the shared disk {disk.file} at once"
            yield Problem(what, hint=f"give each job its own in a column {variable_of(name)}, or transfer files")


def _kernel_problems(name: str, path: str | None) -> Iterator[Problem]:
    hint = "write `kernel: {placement: included}`, or `submit: {kernel_path: /DIR}` with its directory on every machine"
    if path is None or not path.startswith("/"):
        if name != KERNEL:
            return
        what = f"xen does not start a {name} that HTCondor transfers: it needs an absolute path on the execution points"
        yield Problem(what, hint=hint)
    elif "included" in path:
        yield Problem(f"the path {path} contains 'included', so xen would load no kernel", hint="use another name")
    elif not re.fullmatch(r"[A-Za-z0-9._+/-]+", path):
        yield Problem(f"the path {path!r} of the kernel may only have the characters A-Z a-z 0-9 . _ + - /", hint=hint)
