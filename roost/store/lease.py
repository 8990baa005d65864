"""Leases on the cache: a locked file for each task that uses it, so that `inv gc` removes nothing in use.

A lease is a file in the cache's directory `using`, locked as long as its task runs: a killed task loses it. A task
marks everything it takes out of the cache as used, after its lease began; so entries used since the oldest held lease
are kept. `gate` is held briefly: no lease begins while entries are removed.
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
    """Keep new leases from beginning."""
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
    """Return since when the cache has been in continuous use by any one task; None if it is not in use.

    The caller holds the gate. Leases of killed tasks are removed.
    """
    starts = []
    for path in _directory(root).glob("[!.]*.lock"):
        with contextlib.suppress(FileNotFoundError):
            since = path.lstat().st_mtime
            lock = FileLock(path)
            try:
                lock.acquire(timeout=0)
            except Timeout:
                starts.append(since)
                continue
            path.unlink(missing_ok=True)
            lock.release()
    return min(starts, default=None)
