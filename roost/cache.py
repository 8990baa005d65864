"""The cache: results of stages by the key of all their inputs, each whole or not there at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from filelock import FileLock

from roost.host import namespace, paths, process


def key(stage: str, given: Mapping[str, Any]) -> str:
    """Return the key of a stage: sha256 over its name and its inputs as canonical JSON."""
    text = json.dumps({"stage": stage, "inputs": given}, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True)
class Cache:
    """A folder of results: STAGE/KEY is a folder, finished once it has its name."""

    root: Path

    def get(self, stage: str, name: str) -> Path | None:
        """Return the folder of a finished result and mark it as used, or None."""
        folder = self.root / stage / name
        if not folder.is_dir():
            return None
        with contextlib.suppress(OSError):
            os.utime(folder)
        return folder

    def put(self, stage: str, name: str, make: Callable[[Path], None]) -> Path:
        """Return the folder of a result; `make` fills an empty folder with it if nobody has yet.

        Two that want the same result wait for each other. What `make` leaves when it fails is removed.
        """
        parent = self.root / stage
        parent.mkdir(parents=True, exist_ok=True)
        with FileLock(parent / f".{name}.lock"):
            found = self.get(stage, name)
            if found is not None:
                return found
            staging = parent / f".{name}.making"
            shutil.rmtree(staging, ignore_errors=True)
            staging.mkdir()
            try:
                make(staging)
                staging.rename(parent / name)
            finally:
                shutil.rmtree(staging, ignore_errors=True)
        return parent / name


def default() -> Cache:
    """Return the user's cache."""
    return Cache(paths.cache_root())


@contextmanager
def work_folder() -> Iterator[Path]:
    """Yield a folder for trees whose files may belong to subordinate ids; gone afterwards.

    What killed builds left is removed first: a work folder whose lock nobody holds belongs to nobody.
    """
    parent = paths.cache_root() / "work"
    parent.mkdir(parents=True, exist_ok=True)
    for stale in parent.glob("*.lock"):
        held = FileLock(stale)
        with contextlib.suppress(TimeoutError):
            held.acquire(timeout=0)
            remove_tree(stale.with_suffix(""))
            stale.unlink(missing_ok=True)
            held.release()
    name = f"{os.getpid()}-{os.urandom(4).hex()}"
    folder = parent / name
    lock = parent / f"{name}.lock"
    with FileLock(lock):
        folder.mkdir(mode=0o755)
        try:
            yield folder
        finally:
            remove_tree(folder)
            lock.unlink(missing_ok=True)


def remove_tree(folder: Path) -> None:
    """Remove a folder whoever its files belong to: in the namespace that they were made in."""
    if not folder.exists():
        return
    process.run(
        namespace.current().argv(["rm", "-rf", "--one-file-system", "--", folder]), deadline=300, what="cannot clean up"
    )
