"""The steps for a job's own disk: `io` makes one for each job, `collect` extracts status and results."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import roost.sources.registry  # noqa: F401 - registers all sources, so that a recipe can name them
from roost.condor.jobs_file import Jobs
from roost.errors import HostError, RecipeError, UsageError
from roost.events import Events, Stages
from roost.host import files, namespace, paths
from roost.host.pool import each
from roost.iodisk import batch, inputs, make, replaceable
from roost.iodisk.batch import DiskRequest, Progress
from roost.iodisk.collect import Collected, check_target, collect
from roost.iodisk.make import IoDisk
from roost.pipeline import environment, table
from roost.recipe import loader
from roost.recipe.model import Recipe
from roost.recipe.words import counted, shown
from roost.run import table as tables

#: Default limit of files and directories extracted from one disk.
FILES = 100_000
#: Used instead of a verdict: the host is at fault, and the disk's state is unknown.
NOT_COLLECTED = "not collected"


@dataclass(frozen=True, slots=True)
class IoDisks:
    """The io disks made by one call."""

    name: str
    disks: tuple[IoDisk, ...]
    seconds: float

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv io --json`."""
        return {
            "name": self.name,
            "seconds": self.seconds,
            "files": [{"path": str(disk.path), "virtual": disk.virtual, "free": disk.free} for disk in self.disks],
        }


def io(
    name: str,
    given: Sequence[str],
    *,
    events: Events,
    output: Path | None = None,
    jobs: Path | None = None,
    sets: Sequence[str] = (),
) -> IoDisks:
    """Make the io disk of the recipe `name` with the files and directories `given` in input/.

    With `jobs`, one is made for each row.

    Raises `RecipeError` with all invalid inputs, before anything is written.
    """
    environment.check()
    recipe = loader.load(name, paths.project_root(), sets).recipe
    make.disk_of(recipe)
    if jobs is not None and output is not None:
        raise UsageError("--output and --jobs cannot be used together", hint="the file of jobs names each disk")
    with table.reading(jobs, events) as reading:
        rows = tables.for_image(tables.read(jobs), name, recipe) if jobs is not None else None
        if rows is not None:
            table.report_doubtful(rows, recipe, events)
        requests = _requests(given, recipe, output, rows, reading.progress)
    namespace.probe(namespace.owner())
    stages = Stages(events)
    with stages.stage("io disks", str(len(requests))):
        made = each(
            lambda one: make.make(recipe, one.items, one.output, texts=one.texts),
            requests,
            lambda done: events.progress("io disks", done, len(requests)),
        )
    return IoDisks(recipe.name, tuple(made), stages.seconds["io disks"])


def _requests(
    given: Sequence[str], recipe: Recipe, output: Path | None, rows: Jobs | None, progress: Progress
) -> tuple[DiskRequest, ...]:
    """Return the disks to make; raise `RecipeError`, or `ImageError` if the inputs do not fit."""
    disk = make.disk_of(recipe)
    size = disk.areas[0].size
    try:
        items, problems = inputs.items(given, Path.cwd(), room=None if size is None else inputs.Room.of(size))
    except inputs.TooMuchError as error:
        raise make.too_many(recipe) from error
    if problems:
        raise RecipeError(problems)
    if rows is not None:
        return batch.checked(rows, recipe, items, progress=progress)
    where = output or Path(f"{disk.name}.{disk.format}")
    make.check_output(where, items)
    # FIFOs and devices are written to, not replaced.
    if where.is_file() and (kept := replaceable.problem_of(where)) is not None:
        # /dev/stdout is a file if it is redirected to one, but not the user's to remove.
        own = files.own_descriptor(where) is not None
        hint = "name another file" if own else "remove it, or name another file"
        raise UsageError(f"{shown(str(where), 400)} {kept}", hint=hint)
    return (DiskRequest(where, tuple(items), {}),)


def collect_all(words: Sequence[str], *, events: Events, most: int = FILES, size: int | None = None) -> dict[str, Any]:
    """Collect the disks `words[:-1]` into directories of `words[-1]`, each named after its disk; return the verdicts.

    A disk that the host could not collect is `not collected`, and `host_fault` is true; others keep their verdicts.
    """
    if len(words) < 2:
        raise UsageError("no disks and no directory given", hint="inv collect DISK... DIR")
    disks, target = [Path(word) for word in words[:-1]], Path(words[-1])
    if os.path.lexists(target) and not target.is_dir():
        raise UsageError(f"{target} is not a directory", hint="the last word is the directory for the results")
    missing = [f"'{disk}'" for disk in disks if not os.path.lexists(disk)]
    if missing:
        raise UsageError(
            "no such file: " + ", ".join(missing),
            hint="name the disks that came back from the jobs, and the directory for the results last",
        )
    for disk in disks:
        if (unfit := _unfit(disk)) is not None:
            raise UsageError(f"{disk} is {unfit}", hint="name the disks that came back, and the directory last")
    directories = _directories(disks, target)
    for directory in directories:
        check_target(directory)
    stages = Stages(events)
    with stages.stage("collect", counted(len(disks), "disk")):
        found = each(
            lambda pair: _collect(pair[0], pair[1], most, size),
            zip(disks, directories, strict=True),
            lambda done: events.progress("collect", done, len(disks)),
        )
    return {
        "ok": all(one["verdict"] == "done" and one["complete"] for one in found),
        "folder": str(target),
        "counts": dict(Counter(one["verdict"] for one in found)),
        "host_fault": any(one["verdict"] == NOT_COLLECTED for one in found),
        "disks": found,
    }


def _unfit(disk: Path) -> str | None:
    """Return why a path is not a readable disk, by its type; a dangling link is reported with its verdict."""
    try:
        return files.unfit(disk)
    except OSError:
        return None


def _collect(disk: Path, directory: Path, most: int, size: int | None) -> dict[str, Any]:
    """Return the entry of one disk; a fault of the host becomes one too, so that the other disks keep theirs."""
    try:
        return collect(disk, directory, files=most, size=size).to_json()
    except HostError as error:
        entry = Collected(str(disk), "unreadable", str(error.problem), {}, None).to_json()
        return {**entry, "verdict": NOT_COLLECTED}


def _directories(disks: Sequence[Path], target: Path) -> list[Path]:
    """Return the directory of each disk: its name without the extension, or with it if two would be the same."""
    stems = Counter(disk.stem for disk in disks)
    names = [disk.name if stems[disk.stem] > 1 or disk.stem.startswith(".") else disk.stem for disk in disks]
    twice = [name for name, count in Counter(names).items() if count > 1]
    if twice:
        raise UsageError(f"two disks are named {twice[0]}", hint="collect them into two directories")
    return [target / name for name in names]


__all__ = ["FILES", "Collected", "IoDisks", "collect_all", "io"]
