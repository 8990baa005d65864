"""The directory in which a machine runs: in the cache, removed afterwards, or swept if its run was killed."""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roost.errors import HostError
from roost.host import paths


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """Yield a temporary directory in the cache; leftovers of killed runs on this host are removed first."""
    root = paths.cache_root() / "boot"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(
            f"cannot make {root}: {error.strerror}", hint="set ROOST_CACHE to a directory of yours"
        ) from error
    sweep()
    directory = Path(tempfile.mkdtemp(prefix=f"{socket.gethostname()}-{os.getpid()}-", dir=root))
    try:
        (directory / "log").mkdir()
        yield directory
    finally:
        with suppress(OSError):
            shutil.rmtree(directory)


def abandoned() -> list[Path]:
    """Return the leftovers of killed runs on this host."""
    host = socket.gethostname()
    found = []
    for old in (paths.cache_root() / "boot").glob(f"{host}-*"):
        pid = old.name.removeprefix(f"{host}-").partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and not old.is_symlink():
            found.append(old)
    return found


def sweep() -> None:
    """Remove the leftovers of killed runs on this host."""
    for old in abandoned():
        shutil.rmtree(old, ignore_errors=True)
