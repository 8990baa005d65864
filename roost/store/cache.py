"""The cache: results of stages by the key of all their inputs, each complete or absent."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from roost.errors import ToolError
from roost.host import files, interruption, memory, namespace, paths, process

#: Seconds that an interrupted task waits for a work directory to be removed; a large one is removed after its end.
GRACE = 0.5


def key(stage: str, given: Mapping[str, Any]) -> str:
    """Return the key of a stage: sha256 over its name and its inputs as canonical JSON."""
    text = json.dumps({"stage": stage, "inputs": given}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cache:
    """A directory of results: STAGE/KEY is a directory, complete once it has its name."""

    root: Path

    def get(self, stage: str, name: str) -> Path | None:
        """Return the directory of a finished result and mark it as used, or None."""
        directory = self.root / stage / name
        if not directory.is_dir():
            return None
        with contextlib.suppress(OSError):
            os.utime(directory)
        return directory

    def put(self, stage: str, name: str, make: Callable[[Path], None]) -> Path:
        """Return the directory of a result; `make` fills an empty directory with it if it is not cached.

        Concurrent calls for the same result wait for each other. What `make` leaves when it fails is removed.
        """
        parent = self.root / stage
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(files.lock_path(parent / f".{name}.lock")):
            found = self.get(stage, name)
            if found is not None:
                return found
            staging = parent / f".{name}.making"
            shutil.rmtree(staging, ignore_errors=True)
            _sweep_stage(parent)
            staging.mkdir()
            try:
                make(staging)
                staging.rename(parent / name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return parent / name

    def drop(self, stage: str, name: str) -> None:
        """Remove a finished result that is not valid."""
        parent = self.root / stage
        with FileLock(files.lock_path(parent / f".{name}.lock")):
            remove_tree(parent / name)


def _sweep_stage(parent: Path) -> None:
    """Remove the incomplete results of a stage that killed builds left: those whose lock is free."""
    for staging in parent.glob(".*.making"):
        lock = FileLock(staging.with_suffix(".lock"))
        with contextlib.suppress(OSError, TimeoutError):
            lock.acquire(timeout=0)
            try:
                shutil.rmtree(staging, ignore_errors=True)
            finally:
                lock.release()


def default() -> Cache:
    """Return the user's cache."""
    return Cache(paths.cache_root())


@contextmanager
def work_directory(room: int | None = None) -> Iterator[Path]:
    """Yield a directory for trees whose files may belong to subordinate ids; it is removed afterwards.

    `room` is its expected size in bytes: if there is enough memory, the directory is in memory. Leftovers of killed
    builds are removed first: a work directory whose lock is free has no owner.
    """
    on_disk = paths.cache_root() / "work"
    on_disk.mkdir(parents=True, exist_ok=True)
    sweep()
    parent = None if room is None else memory.place(room)
    name = f"{f'roost-{os.geteuid()}-' if parent else ''}{os.getpid()}-{os.urandom(4).hex()}"
    directory = (parent or on_disk) / name
    lock = directory.with_name(f"{name}.lock")
    try:
        with FileLock(lock, mode=0o600):
            directory.mkdir(mode=0o700 if parent else 0o755)
            try:
                yield directory
            finally:
                if not interruption.interrupted():
                    remove_tree(directory)
                    lock.unlink(missing_ok=True)
    finally:
        if interruption.interrupted():
            _leave(directory, lock)


def _leave(directory: Path, lock: Path) -> None:
    """Start a tool that removes a directory and outlives this process, which must end; wait `GRACE` for it.

    The tool holds the directory's lock. The next command sweeps what it does not remove.
    """
    if not lock.exists():
        return
    remove = namespace.current().argv(["rm", "-rf", "--one-file-system", "--", directory, lock])
    process.leave(["flock", lock, *remove], wait=GRACE)


def sweep() -> None:
    """Remove the work directories that killed builds left."""
    for held, directory in _nobodys():
        remove_tree(directory)
        Path(held.lock_file).unlink(missing_ok=True)


def abandoned() -> list[Path]:
    """Return the work directories that killed builds left."""
    return [directory for _, directory in _nobodys() if directory.exists()]


def _nobodys() -> Iterator[tuple[FileLock, Path]]:
    """Yield the work directories whose lock is free, each with that lock, held.

    In shared directories, only this user's are considered.
    """
    mine = f"roost-{os.geteuid()}-*.lock"
    for lock in [*(paths.cache_root() / "work").glob("*.lock"), *memory.SHARED.glob(mine)]:
        with contextlib.suppress(OSError, TimeoutError):
            status = lock.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_uid != os.geteuid():
                continue
            held = FileLock(lock)
            held.acquire(timeout=0)
            try:
                yield held, lock.with_suffix("")
            finally:
                held.release()


def remove_tree(directory: Path) -> None:
    """Remove a directory whatever the owners of its files: in the namespace in which they were made."""
    if not directory.exists():
        return
    try:
        process.run(
            namespace.current().argv(["rm", "-rf", "--one-file-system", "--", directory]),
            deadline=300,
            what="cannot clean up",
        )
    except ToolError:
        # Without namespaces, report that: the work being cleaned up failed for the same reason.
        namespace.probe()
        raise
