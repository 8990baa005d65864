"""The file of jobs of a task, read and checked; a long one shows how far that is, a doubtful column is told."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roost.condor import jobs_rows
from roost.condor.jobs_file import Jobs, variable_of
from roost.events import Events, Stages
from roost.iodisk.batch import INPUTS, Progress, nowhere
from roost.recipe.model import Recipe
from roost.recipe.words import near
from roost.run.dag import PRIORITY
from roost.run.plan import NAME

#: Bytes of a file of jobs whose check takes seconds: some thousand rows.
LONG = 1 << 18
_STAGE = "jobs file"
#: How like a name a column must be to be taken for it: `inptus` for inputs, but not `game` for name.
_ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class Reading:
    """A file of jobs while it is read: where what is to be said of it goes, and what is told of each row."""

    events: Events
    progress: Progress = nowhere


@contextmanager
def reading(jobs: Path | None, events: Events) -> Iterator[Reading]:
    """Make a stage of the body when the file of jobs is a long one; yield how it is read."""
    size = 0
    with contextlib.suppress(OSError, ValueError):
        size = jobs.stat().st_size if jobs is not None else 0
    if size < LONG:
        yield Reading(events)
        return
    with Stages(events).stage(_STAGE, f"{jobs}, {size >> 10} KiB"):
        yield Reading(events, lambda done, total: events.progress(_STAGE, done, total))


def tell_doubtful(jobs: Jobs, recipe: Recipe, events: Events) -> None:
    """Say which columns nothing but the job itself reads, and which of roost's own each was probably meant to be."""
    for line in doubtful(jobs, recipe):
        events.note(line)


def doubtful(jobs: Jobs, recipe: Recipe) -> Iterator[str]:
    """Yield a line for each column that is not one of roost's own, but nearly. Pure."""
    lines = [*recipe.submit.commands.values(), *map(str, recipe.submit.attributes.values())]
    used = jobs_rows.uses(lines)
    own = {INPUTS, NAME, PRIORITY, "mac", *(variable_of(disk.name) for disk in recipe.disks)}
    absent = [name for name in own if jobs.named(name) is None]
    for column in jobs.variables:
        if column.lower() in {name.lower() for name in own} | set(used) or column == jobs.image:
            continue
        close = near(column, absent, _ALIKE)
        if close is not None:
            yield f"{jobs.file}: the column {column} only sets a variable of the jobs; did you mean {close}?"
