"""Reads and checks a task's file of jobs; shows progress for a long one, and reports doubtful columns."""

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
#: Similarity at which a column counts as a misspelt name: `inptus` for inputs, but not `game` for name.
_ALIKE = 0.8


@dataclass(frozen=True, slots=True)
class Reading:
    """A file of jobs while it is read: the sink for notes, and the callback for each row."""

    events: Events
    progress: Progress = nowhere


@contextmanager
def reading(jobs: Path | None, events: Events) -> Iterator[Reading]:
    """Make the block a stage when the file of jobs is long; yield how it is read."""
    size = 0
    with contextlib.suppress(OSError, ValueError):
        size = jobs.stat().st_size if jobs is not None else 0
    if size < LONG:
        yield Reading(events)
        return
    with Stages(events).stage(_STAGE, f"{jobs}, {size >> 10} KiB"):
        yield Reading(events, lambda done, total: events.progress(_STAGE, done, total))


def report_doubtful(jobs: Jobs, recipe: Recipe, events: Events) -> None:
    """Report columns that only the job itself reads, with the column of roost's own that was probably meant."""
    for line in doubtful(jobs, recipe):
        events.note(line)


def doubtful(jobs: Jobs, recipe: Recipe) -> Iterator[str]:
    """Yield a line for each column whose name is close to one of roost's own. Pure."""
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
