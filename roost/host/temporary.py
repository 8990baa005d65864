"""Temporary directories: removed when their block ends, and by the next command when their process was killed.

Each is locked (flock(2)) as long as its process lives: the kernel releases the lock however the process ends, in every
process namespace. So a directory of such a name that belongs to this user and can be locked has no owner left. A name
is `roost-PURPOSE-` and 16 hexadecimal digits, after a dot where a user sees the directory.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

NAME = re.compile(r"\.?roost-[a-z]+-[0-9a-f]{16}")
#: A file in such a directory that lists directories made elsewhere by a tool, one a line; they are removed with it.
ELSEWHERE = "elsewhere"
#: Where libguestfs puts its sockets when run by root, whatever the configuration.
_LIBGUESTFS = re.compile(r"/tmp/libguestfs\w{6}")

#: Seconds before this process sweeps a directory again, which may have many names.
AGAIN = 60.0

_live: dict[Path, int] = {}
#: When this process last swept each directory, by time.monotonic.
_swept: dict[Path, float] = {}
_guard = threading.RLock()


@contextmanager
def directory(purpose: str, parent: Path | None = None, *, hidden: bool = False) -> Iterator[Path]:
    """Yield a new directory of mode 0700 in `parent` (default: that for temporary files); sweep leftovers first.

    `purpose` is one word of lower-case letters.
    """
    top = Path(tempfile.gettempdir()) if parent is None else parent
    now = time.monotonic()
    if now - _swept.get(top, now - AGAIN) >= AGAIN:
        _swept[top] = now
        sweep(top)
    path = _make(top, f"{'.' if hidden else ''}roost-{purpose}-")
    try:
        yield path
    finally:
        _drop(path)


def _make(top: Path, prefix: str) -> Path:
    while True:
        path = top / f"{prefix}{os.urandom(8).hex()}"
        with _guard:
            path.mkdir(mode=0o700)
            # Until it is locked, another thread or process may take it for a leftover and remove it.
            try:
                descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except FileNotFoundError:
                continue
            # Where the file system has no locks, nothing is swept either.
            if locked(descriptor) is not False and _is(path, descriptor):
                _live[path] = descriptor
                return path
            os.close(descriptor)


def locked(descriptor: int) -> bool | None:
    """Take the lock; return False when it is held, None when locks are not supported here."""
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return None
    return True


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except OSError:
        return False


def _drop(path: Path) -> None:
    with _guard:
        descriptor = _live.pop(path, None)
    if descriptor is None:
        return
    try:
        _remove(path)
    finally:
        os.close(descriptor)


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        for line in (path / ELSEWHERE).read_text().splitlines():
            if _LIBGUESTFS.fullmatch(line) and Path(line).lstat().st_uid == os.geteuid():
                shutil.rmtree(line, ignore_errors=True)
    shutil.rmtree(path, ignore_errors=True)


def abandoned(top: Path) -> list[Path]:
    """Return the directories in `top` left by killed processes of this user."""
    return [path for path, _ in _abandoned(top)]


def remove_if_free(path: Path) -> None:
    """Remove a directory of this user's with another name, if its lock is free."""
    for one, _ in _free([path]):
        shutil.rmtree(one, ignore_errors=True)


def sweep(top: Path) -> None:
    """Remove the directories in `top` left by killed processes of this user."""
    for path, _ in _abandoned(top):
        _remove(path)


def _abandoned(top: Path) -> Iterator[tuple[Path, int]]:
    """Yield the directories without an owner, each with its lock, held meanwhile."""
    try:
        found = [Path(entry.path) for entry in os.scandir(top) if NAME.fullmatch(entry.name)]
    except OSError:
        return
    yield from _free(found)


def _free(found: Iterable[Path]) -> Iterator[tuple[Path, int]]:
    """Yield the unlocked directories of this user, each with its lock, held meanwhile."""
    for path in found:
        with contextlib.suppress(OSError):
            seen = path.lstat()
            if not stat.S_ISDIR(seen.st_mode) or seen.st_uid != os.geteuid():
                continue
            descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            try:
                if locked(descriptor) is True:
                    yield path, descriptor
            finally:
                os.close(descriptor)


def clear() -> None:
    """Remove all directories of this process, which is about to end without waiting for its threads."""
    for path in list(_live):
        _drop(path)
