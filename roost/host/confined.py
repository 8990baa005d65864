"""A child process for work on untrusted input that Python cannot interrupt, limited in time, memory and output.

The child is roost's own code, started through `roost.host.process`, with its request as JSON on standard input. Before
it reads anything it limits its CPU time and memory, and gives up writing files.
"""

from __future__ import annotations

import json
import resource
import signal
import sys
from pathlib import Path
from types import FrameType
from typing import Any

import roost
from roost.host import process

#: CPU seconds of one step and of a whole child; its memory in bytes; wall seconds on a busy host.
STEP, CPU, MEMORY, DEADLINE = 2.0, 8, 512 << 20, 120.0


class StepTimeoutError(Exception):
    """A step exceeded its CPU time."""


def ask(module: str, request: Any) -> list[Any]:
    """Return the JSON values, one a line, that a worker module wrote before it ended or was killed by a limit.

    The number of values shows where the worker was stopped. Raises `RoostError` only when it cannot be started.
    """
    done = process.run(
        [sys.executable, "-P", "-m", module],
        deadline=DEADLINE,
        env={"PYTHONPATH": str(Path(roost.__file__).parents[1])},
        stdin=json.dumps(request).encode(),
        capture=True,
        check=False,
    )
    lines = done.stdout.split(b"\n")
    return [json.loads(line) for line in lines[:-1]]


def confine() -> None:
    """Apply limits to the calling process, a worker of `ask`, for the rest of its life."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGVTALRM, _over)


def begin_step() -> None:
    """Start the timer of one step: `StepTimeoutError` is raised in the step once `STEP` seconds are used."""
    # Repeat the signal: an `except` in the step could swallow the first one.
    signal.setitimer(signal.ITIMER_VIRTUAL, STEP, 0.1)


def end_step() -> None:
    """Stop the timer."""
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _over(_signal: int, _frame: FrameType | None) -> None:
    raise StepTimeoutError


def answer(value: Any) -> None:
    """Write one value of the worker's answer and flush it, so that it is not lost if the next step is killed."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
