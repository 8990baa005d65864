"""What QEMU gets under every hypervisor: the sockets that it inherits, and its disks. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.condor.hardware import AttachedDisk, Hardware

#: libvirt's names of formats that QEMU calls otherwise.
_DRIVERS = {"vhd": "vpc", "ploop": "parallels"}


@dataclass(frozen=True, slots=True)
class DiskPlace:
    """Where a disk is: its image (absolute), and the throw-away layer over it; None for a read-only disk."""

    image: Path
    layer: Path | None


@dataclass(frozen=True, slots=True)
class DirectKernel:
    """The files of a kernel that the hypervisor starts, absolute."""

    kernel: Path
    initrd: Path | None = None


def direct_kernel(directory: Path, hardware: Hardware) -> DirectKernel | None:
    """Return the kernel that a machine names, whose files are in `directory`; None when its image has it."""
    if hardware.kernel is None:
        return None
    directory = directory.absolute()
    return DirectKernel(directory / hardware.kernel, directory / hardware.initrd if hardware.initrd else None)


@dataclass(frozen=True, slots=True)
class Channels:
    """File descriptors of connected sockets that QEMU inherits."""

    qmp: int
    serial: int
    firmware: int


def described(image: Path, driver: str) -> str:
    """Return an image as qemu-img opens it: its format said, its name with any character."""
    return f"json:{json.dumps({'driver': driver, 'file': {'driver': 'file', 'filename': str(image)}})}"


def blockdev(disk: AttachedDisk, place: DiskPlace) -> dict[str, Any]:
    """Return the block graph of a disk: the image read-only, and over it the layer that takes the writes.

    Formats are always said, never probed: a probed guest-written header could name any file of the host.
    """
    driver = _DRIVERS.get(disk.format, disk.format)
    file = {"driver": "file", "filename": str(place.image), "read-only": True, "auto-read-only": False}
    image: dict[str, Any] = {"driver": driver, "read-only": True, "file": file}
    if place.layer is None:
        return {**image, "node-name": disk.target}
    # What the guest flushes is thrown away in a minute: the host's disk need not be waited for.
    cache = {"direct": False, "no-flush": True}
    layer = {"driver": "file", "filename": str(place.layer), "cache": cache}
    return {
        "driver": "qcow2",
        "node-name": disk.target,
        "cache": cache,
        "file": layer,
        "backing": {**image, "node-name": f"{disk.target}-image"},
    }
