"""The tools that run, and how they end: with their block, or all at once when the task is interrupted.

Each tool leads a process group, and it is the group that is killed: what a tool has started ends with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

#: The tools that run, and whether all is to end. The signal handler takes the lock too, so it is reentrant.
_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.RLock()
_interrupted = threading.Event()


def interrupt() -> None:
    """Kill every tool, whichever thread waits for it, and let no thread but the main one start another."""
    with _guard:
        _interrupted.set()
        for tool in _running:
            if tool.returncode is None:
                _kill(tool)


def interrupted() -> bool:
    """Return whether the task was told to end."""
    return _interrupted.is_set()


@contextmanager
def started(argv: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a tool with `subprocess.Popen`'s options and yield it; its process group is gone when the block is left.

    Raises `KeyboardInterrupt` in a thread other than the main one once the task was told to end.
    """
    with _guard:
        if _interrupted.is_set() and threading.current_thread() is not threading.main_thread():
            raise KeyboardInterrupt
        tool = subprocess.Popen(argv, start_new_session=True, **options)
        _running.add(tool)
    try:
        yield tool
    finally:
        # The group outlives its leader as long as one member does, so it is killed even after the leader's end.
        _kill(tool)
        tool.wait()
        with _guard:
            _running.discard(tool)
        for pipe in (tool.stdin, tool.stdout):
            if pipe is not None:
                pipe.close()


def await_end(tool: subprocess.Popen[bytes], seconds: float) -> None:
    """Wait until a tool has ended, at most so long: asleep, where `Popen.wait` with a time looks again and again."""
    try:
        descriptor = os.pidfd_open(tool.pid)
    except OSError:
        # A kernel before 5.3, or none of Linux' own: the caller waits as Python does.
        return
    try:
        end = select.poll()
        end.register(descriptor, select.POLLIN)
        end.poll(seconds * 1000)
    finally:
        os.close(descriptor)


def _kill(tool: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(tool.pid, signal.SIGKILL)
