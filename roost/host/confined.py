"""A child process for work on untrusted input that Python cannot interrupt: bounded in time, memory and output.

The child is roost's own code, started through the one door to subprocesses, told what to do by JSON on its standard
input. It confines itself before it reads: a bound on its CPU time and memory, and it can write no file.
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

#: CPU seconds of one step and of a whole child; bytes of its memory; seconds of wall time on a busy host.
STEP, CPU, MEMORY, DEADLINE = 2.0, 8, 512 << 20, 120.0


class StepTimeoutError(Exception):
    """A step has used up its CPU time."""


def ask(module: str, request: Any) -> list[Any]:
    """Return the JSON values, one a line, that a worker module wrote until it ended, or was ended by a bound.

    The caller finds by their number where the worker was stopped. Raises `RoostError` only when it cannot be started.
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
    """Bound the calling process, which is a worker of `ask`, for the rest of its life."""
    resource.setrlimit(resource.RLIMIT_CPU, (CPU, CPU))
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    signal.signal(signal.SIGVTALRM, _over)


def begin_step() -> None:
    """Start the clock of one step: `StepTimeoutError` is raised in the middle of it when `STEP` seconds are used."""
    # Again and again after the first time: an `except` on the way must not swallow it for good.
    signal.setitimer(signal.ITIMER_VIRTUAL, STEP, 0.1)


def end_step() -> None:
    """Stop the clock."""
    signal.setitimer(signal.ITIMER_VIRTUAL, 0)


def _over(_signal: int, _frame: FrameType | None) -> None:
    raise StepTimeoutError


def answer(value: Any) -> None:
    """Write one value of the worker's answer at once, so that it is there even if the next step is the last."""
    sys.stdout.write(json.dumps(value) + "\n")
    sys.stdout.flush()
