"""QEMU's back ends under every hypervisor: the inherited sockets, and the disks. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.condor.hardware import AttachedDisk, Hardware

#: libvirt's format names that differ from QEMU's.
_DRIVERS = {"vhd": "vpc", "ploop": "parallels"}


@dataclass(frozen=True, slots=True)
class DiskPlace:
    """The files of a disk: its image (absolute), and the throw-away layer over it; None for a read-only disk."""

    image: Path
    layer: Path | None


@dataclass(frozen=True, slots=True)
class DirectKernel:
    """The files of a kernel that the hypervisor starts, as absolute paths."""

    kernel: Path
    initrd: Path | None = None


def direct_kernel(directory: Path, hardware: Hardware) -> DirectKernel | None:
    """Return the kernel files that a machine names in `directory`; None when the kernel is in its image."""
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
    """Return an image as qemu-img opens it: with an explicit format, and any character allowed in its name."""
    return f"json:{json.dumps({'driver': driver, 'file': {'driver': 'file', 'filename': str(image)}})}"


def blockdev(disk: AttachedDisk, place: DiskPlace, *, ring: bool = False) -> dict[str, Any]:
    """Return the block graph of a disk: the image read-only, and over it the layer that takes the writes.

    With `ring` the files are accessed through io_uring(7), otherwise by threads. Formats are always explicit, never
    probed: a probed header written by the guest could name any file of the host.
    """
    driver = _DRIVERS.get(disk.format, disk.format)
    access = {"aio": "io_uring"} if ring else {}
    file = {"driver": "file", "filename": str(place.image), "read-only": True, "auto-read-only": False, **access}
    image: dict[str, Any] = {"driver": driver, "read-only": True, "file": file}
    if place.layer is None:
        return {**image, "node-name": disk.target}
    # The layer is soon thrown away, so a flush by the guest need not wait for the host's disk.
    cache = {"direct": False, "no-flush": True}
    layer = {"driver": "file", "filename": str(place.layer), "cache": cache, **access}
    return {
        "driver": "qcow2",
        "node-name": disk.target,
        "cache": cache,
        "file": layer,
        "backing": {**image, "node-name": f"{disk.target}-image"},
    }
