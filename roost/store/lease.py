"""Who is using the cache: one locked file for each task that does, so that `inv gc` takes nothing from under it.

A lease is a file in the cache's directory `using`, locked as long as its task runs: a task that was killed has lost it.
All that a task takes out of the cache it marks as used, after its lease began; so what was used since the oldest lease
that is held stays. `gate` is short: no lease begins while things are taken away.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from roost.host import files, paths

DIRECTORY = "using"
GATE = ".gate.lock"


def _directory(root: Path) -> Path:
    directory = root / DIRECTORY
    directory.mkdir(parents=True, exist_ok=True)
    return directory


@contextmanager
def gate(root: Path) -> Iterator[None]:
    """Hold off leases that would begin now."""
    with FileLock(files.lock_path(_directory(root) / GATE)):
        yield


@contextmanager
def held() -> Iterator[None]:
    """Use the cache while the block runs."""
    root = paths.cache_root()
    path = _directory(root) / f"{os.getpid()}-{os.urandom(4).hex()}.lock"
    lock = FileLock(path)
    with gate(root):
        lock.acquire()
        os.utime(path)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        lock.release()


def oldest(root: Path) -> float | None:
    """Return since when the cache is in use without a break by any one task; None when nobody uses it.

    The caller holds the gate. Leases of tasks that were killed are removed.
    """
    begun = []
    for path in _directory(root).glob("[!.]*.lock"):
        with contextlib.suppress(FileNotFoundError):
            since = path.lstat().st_mtime
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                begun.append(since)
                continue
            path.unlink(missing_ok=True)
            lock.release()
    return min(begun, default=None)
