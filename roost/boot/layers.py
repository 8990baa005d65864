"""Throw-away layers over a machine's disks, in a scratch folder that does not stay.

The images below are only ever opened for reading: they keep their bytes and their times whatever the guest writes.
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

from roost.boot.machine import DiskPlace
from roost.boot.session import RefusedError
from roost.condor.hardware import Hardware
from roost.errors import HostError
from roost.host import paths, process


@contextmanager
def scratch() -> Iterator[Path]:
    """Yield a folder of the cache that is gone afterwards; what killed runs of this host left goes first."""
    root = paths.cache_root() / "boot"
    try:
        root.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise HostError(f"cannot make {root}: {error.strerror}", hint="set ROOST_CACHE to a folder of yours") from error
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{socket.gethostname()}-{os.getpid()}-", dir=root))
    try:
        (folder / "log").mkdir()
        yield folder
    finally:
        with suppress(OSError):
            shutil.rmtree(folder)


def abandoned() -> list[Path]:
    """Return what killed runs of this host left."""
    host = socket.gethostname()
    found = []
    for old in (paths.cache_root() / "boot").glob(f"{host}-*"):
        pid = old.name.removeprefix(f"{host}-").partition("-")[0]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists() and not old.is_symlink():
            found.append(old)
    return found


def sweep() -> None:
    """Remove what killed runs of this host left."""
    for old in abandoned():
        shutil.rmtree(old, ignore_errors=True)


def make(
    shape: Hardware, folder: Path, scratch: Path, instead: Mapping[str, Path] | None = None
) -> dict[str, DiskPlace]:
    """Make a layer in `scratch` over each writable disk, whose files are relative to `folder`; by target.

    `instead` has the files that stand in for a disk's, by target.

    Raises `RefusedError` for a file that is not of its declared format, as QEMU would.
    """
    places = {}
    log = scratch / "log" / "qemu-img.log"
    for disk in shape.disks:
        image = (instead or {}).get(disk.target) or folder.absolute() / disk.file
        layer = None if disk.readonly else scratch / f"{disk.target}.qcow2"
        places[disk.target] = DiskPlace(image, layer)
        if layer is None:
            continue
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", disk.format, "-b", str(image), layer.name]
        done = process.run(argv, deadline=60, cwd=scratch, check=False, log=log)
        if done.returncode != 0:
            said = "".join(process.tail(log.read_bytes()).splitlines()[-1:])
            raise RefusedError(
                f"{disk.file} cannot be opened as {disk.format}", tail=f"{disk.file} as {disk.format}: {said}"
            )
    return places
