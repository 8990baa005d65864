"""Running tools, and how they end: with their block, or all at once when the task is interrupted.

Each tool leads a process group; the whole group is killed, including what the tool started.
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

#: The running tools, and whether all must end. The signal handler takes the lock too, so it is reentrant.
_running: set[subprocess.Popen[bytes]] = set()
_guard = threading.RLock()
_interrupted = threading.Event()
#: The signals that interrupted the task: the first one counts.
_signals: list[int] = []


def interrupt(number: int | None = None) -> None:
    """Kill every tool, and keep all threads but the main one from starting another; `number` is the signal."""
    with _guard:
        _interrupted.set()
        if number is not None:
            _signals.append(number)
        for tool in _running:
            if tool.returncode is None:
                _kill(tool)


def interrupted() -> bool:
    """Return whether the task was interrupted."""
    return _interrupted.is_set()


def status() -> int:
    """Return the exit status of an interrupted task, as a shell reports it: 128 and the signal, else that of Ctrl-C."""
    return 128 + (_signals[0] if _signals else signal.SIGINT)


def cause() -> str:
    """Return what interrupted the task: Ctrl-C, or another signal with its number and name."""
    number = signal.Signals(_signals[0] if _signals else signal.SIGINT)
    return "Ctrl-C" if number is signal.SIGINT else f"signal {number.value} ({number.name})"


@contextmanager
def started(argv: list[str], **options: Any) -> Iterator[subprocess.Popen[bytes]]:
    """Start a tool with `subprocess.Popen`'s options and yield it; its process group is gone when the block is left.

    Raises `KeyboardInterrupt` in a thread other than the main one once the task was interrupted.
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
    """Wait at most `seconds` until a tool has ended; this sleeps, where `Popen.wait` with a timeout polls."""
    try:
        descriptor = os.pidfd_open(tool.pid)
    except OSError:
        # A kernel before 5.3, or not Linux: the caller waits as Python does.
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
