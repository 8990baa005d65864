"""The file of jobs of a task, read and checked; a long one shows how far that is."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from roost.events import Events, Stages
from roost.iodisk.batch import Progress, nowhere

#: Bytes of a file of jobs whose check takes seconds: some thousand rows.
LONG = 1 << 18
_STAGE = "jobs file"


@contextmanager
def progress(jobs: Path | None, events: Events) -> Iterator[Progress]:
    """Make a stage of the body when the file of jobs is a long one; yield what is told of each row."""
    size = 0
    with contextlib.suppress(OSError, ValueError):
        size = jobs.stat().st_size if jobs is not None else 0
    if size < LONG:
        yield nowhere
        return
    with Stages(events).stage(_STAGE, f"{jobs}, {size >> 10} KiB"):
        yield lambda done, total: events.progress(_STAGE, done, total)
