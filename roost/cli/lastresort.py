"""Errors not handled elsewhere: one line for a failure of the host, a short report for a bug in roost.

Also the standard streams, which may be closed, full or of another encoding: failed output is not a success.
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
import sys
import tempfile
import time
import traceback
from dataclasses import replace
from pathlib import Path
from typing import TextIO, cast

import roost
from roost.cli import calls
from roost.errors import HostError, RoostError, UsageError
from roost.host import causes, paths
from roost.recipe.words import shown

#: Errors of a name on any host: only the author of the call or the recipe can fix them.
_NAMES = frozenset({errno.ENAMETOOLONG, errno.ELOOP})
#: Errors that another place for the cache avoids: a home that is closed or read-only.
_CLOSED = frozenset({errno.EACCES, errno.EROFS})
OTHER_CACHE = "set ROOST_CACHE to a directory of yours"
#: The exit status of a task whose reader closed its output, as a shell reports SIGPIPE.
CLOSED = 141


class BugError(RoostError):
    """A bug in roost (exit code 1); `log` is the traceback."""


def told(error: BaseException) -> RoostError:
    """Return the error to show for one that reached the top; a bug's traceback is written to a file first."""
    cause = causes.behind(error)
    if isinstance(error, RoostError):
        if isinstance(error, HostError) and error.problem.hint is None and cause is not None:
            # Whoever told of it did not say what to do.
            error.problem = replace(error.problem, hint=causes.hint(error))
        return error
    if cause is not None:
        place = str(getattr(error, "filename", None) or "")
        elsewhere = cause.number in _CLOSED and place and _is_cache(place)
        return causes.host_error(cause, place, hint=OTHER_CACHE if elsewhere else causes.hint(error))
    if isinstance(error, OSError):
        return _refused(error)
    log = _report(error)
    kind = type(error).__name__
    what = f"a bug in roost {roost.__version__}: {kind}: {str(error)[:300]}"
    return BugError(what, hint="please report it with the log" if log else "the log could not be written", log=log)


def _refused(error: OSError) -> RoostError:
    if error.errno == errno.ENOENT and error.filename is None and _is_lost():
        return HostError("the current directory does not exist any more", hint="cd to one that does")
    why = causes.reason(error)
    place = os.fsdecode(error.filename) if isinstance(error.filename, str | bytes) else None
    what = f"{shown(place, 200)}: {why}" if place else why
    if place and _is_cache(place):
        return HostError(what, hint=OTHER_CACHE)
    return UsageError(what) if error.errno in _NAMES else HostError(what)


def _is_cache(place: str) -> bool:
    """Return whether a path is in the cache, or is one of its parent directories that would have to be made."""
    try:
        root = paths.cache_root()
    except (OSError, RoostError):
        return False
    path = Path(place)
    return path.is_relative_to(root) or (path.is_absolute() and root.is_relative_to(path))


def _is_lost() -> bool:
    try:
        Path.cwd()
    except OSError:
        return True
    return False


def _report(error: BaseException) -> Path | None:
    """Write a traceback; return its file, or None when it cannot be written."""
    text = "".join(traceback.format_exception(error))
    name = f"bug-{time.strftime('%Y%m%dT%H%M%S')}-{os.getpid()}.log"
    with contextlib.suppress(OSError, RoostError):
        directory = paths.cache_root() / "log"
        directory.mkdir(parents=True, exist_ok=True)
        (directory / name).write_text(f"roost {roost.__version__}\n{text}", errors="backslashreplace")
        return directory / name
    with contextlib.suppress(OSError):
        descriptor, path = tempfile.mkstemp(prefix="roost-", suffix=f"-{name}")
        with os.fdopen(descriptor, "w", errors="backslashreplace") as file:
            file.write(text)
        return Path(path)
    return None


def open_standard_streams() -> None:
    """Give closed standard streams a descriptor, and keep characters outside their encoding from raising errors.

    Otherwise the next opened file would become standard output. Writing to a closed stream fails.
    """
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            # This is the lowest free descriptor. Standard output is opened such that a write to it fails.
            os.open(os.devnull, os.O_WRONLY if number == 2 else os.O_RDONLY)
    if sys.stdin is None:
        sys.stdin = cast(TextIO, open(0, closefd=False))  # noqa: SIM115
    if sys.stdout is None:
        sys.stdout = cast(TextIO, open(1, "w", closefd=False))  # noqa: SIM115
    if sys.stderr is None:
        sys.stderr = cast(TextIO, open(2, "w", closefd=False))  # noqa: SIM115
    for stream in (sys.stdout, sys.stderr):
        with contextlib.suppress(AttributeError):
            stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]


def drop_output() -> None:
    """Discard the rest of standard output's buffer: Python's own last flush must not fail on it again."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.close(null)


def takes_output() -> bool:
    """Return whether a few lines can be written to standard output at once, rather than when a reader goes on."""
    try:
        room = select.poll()
        room.register(sys.stdout.fileno(), select.POLLOUT)
        return any(event & select.POLLOUT for _, event in room.poll(0))
    except (OSError, ValueError):
        # Not a descriptor, such as a test's buffer.
        return not sys.stdout.closed


def write_error(text: str) -> None:
    """Write to standard error, naming tasks as they are called; a failure cannot be reported and is ignored."""
    with contextlib.suppress(OSError, ValueError):
        sys.stderr.write(calls.typed(text))
        sys.stderr.flush()
