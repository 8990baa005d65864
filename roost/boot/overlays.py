"""Throw-away layers over a machine's disks, in a temporary directory.

The images below are only ever opened for reading: they keep their bytes and their times whatever the guest writes.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from roost.boot.backends import DiskPlace
from roost.boot.session import QemuError
from roost.condor.hardware import Hardware
from roost.host import process


def make(
    shape: Hardware, directory: Path, scratch: Path, instead: Mapping[str, Path] | None = None
) -> dict[str, DiskPlace]:
    """Make a layer in `scratch` over each writable disk, whose files are relative to `directory`; by target.

    `instead` has the files that replace a disk's, by target.

    Raises `QemuError` for a file that is not of its declared format, as QEMU would.
    """
    places = {}
    log = scratch / "log" / "qemu-img.log"
    for disk in shape.disks:
        image = (instead or {}).get(disk.target) or directory.absolute() / disk.file
        layer = None if disk.readonly else scratch / f"{disk.target}.qcow2"
        places[disk.target] = DiskPlace(image, layer)
        if layer is None:
            continue
        argv = ["qemu-img", "create", "-q", "-f", "qcow2", "-F", disk.format, "-b", str(image), layer.name]
        done = process.run(argv, deadline=60, cwd=scratch, check=False, log=log)
        if done.returncode != 0:
            message = "".join(process.tail(log.read_bytes()).splitlines()[-1:])
            raise QemuError(
                f"{disk.file} cannot be opened as {disk.format}", tail=f"{disk.file} as {disk.format}: {message}"
            )
    return places
