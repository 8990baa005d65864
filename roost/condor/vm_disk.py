"""The grammar of vm_disk: how HTCondor splits it, and the subset that roost writes.

    vm_disk = disk *( "," disk )
    disk    = file ":" device ":" permission [ ":" format ]

Three programs read the value and each splits it differently: condor_submit counts the colons of every
item, condor_vm-gahp drops empty fields, the awk script that writes libvirt's XML drops nothing. `scan`
therefore keeps every item and field with its position and validates nothing; `parse` accepts what all three
read alike; `format_disks` writes only what is known to work on the hypervisor (docs/vm-universe.md, section 2).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from roost.condor.machine import VmDisk
from roost.errors import ImageError, Location
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.words import counted

PERMISSIONS = ("r", "w")

#: libvirt's driver names on kvm. HTCondor's script writes no driver for xen, where libvirt then assumes raw.
FORMATS: dict[Hypervisor, tuple[str, ...]] = {"kvm": ("raw", "qcow2"), "xen": ("raw",)}

#: Devices that roost writes. libvirt refuses hde and beyond; a partition as target is refused under kvm, and
#: is a bare file system under xen (not hdXN: a Xen guest loses the number).
DEVICES: dict[Hypervisor, re.Pattern[str]] = {
    "kvm": re.compile(r"vd[a-z]|sd[a-z]|hd[a-d]"),
    "xen": re.compile(r"(?:xvd|sd)[a-z](?:[1-9]|1[0-5])?|hd[a-d]"),
}

FILE_NAME = re.compile(r"[A-Za-z0-9._+-]+")

_DEVICE = re.compile(r"(?P<bus>[a-z]+?d)(?P<letters>[a-z])(?P<partition>\d*)")


class VmDiskError(ImageError):
    """A vm_disk that HTCondor would refuse or misread; `where` counts columns of the value (exit code 1)."""


@dataclass(frozen=True, slots=True)
class Field:
    """One colon-separated part of an item: its text without outer blanks, and its offset in the value."""

    text: str
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class DiskItem:
    """One comma-separated part of vm_disk, which may be empty; `fields` has at least one member."""

    text: str
    start: int
    end: int
    fields: tuple[Field, ...]

    def field(self, index: int) -> Field | None:
        """Return field `index` (0 file, 1 device, 2 permission, 3 format), or None."""
        return self.fields[index] if index < len(self.fields) else None


def scan(text: str) -> tuple[DiskItem, ...]:
    """Split a value at every comma and every colon; offsets count from 0. Never raises."""
    return tuple(
        DiskItem(part.text, part.start, part.end, tuple(_split(text, part.start, part.end, ":")))
        for part in _split(text, 0, len(text), ",")
    )


def _split(text: str, start: int, end: int, separator: str) -> Iterator[Field]:
    while True:
        stop = text.find(separator, start, end)
        stop = end if stop < 0 else stop
        part = text[start:stop]
        left = start + len(part) - len(part.lstrip())
        yield Field(part.strip(), left, left + len(part.strip()))
        if stop == end:
            return
        start = stop + 1


def parse(text: str) -> tuple[VmDisk, ...]:
    """Return the disks in a value, in order.

    Raises `VmDiskError` at the first item that condor_submit, condor_vm-gahp and HTCondor's XML script
    would not read alike. The lint checks whether device, permission and format work.
    """
    disks = []
    for item in scan(text):
        if not item.text:
            raise _error("vm_disk has an empty item", item.start, "remove the extra comma")
        if len(item.fields) not in (3, 4):
            raise _error(
                f"'{item.text}' has {counted(len(item.fields), 'field')}, not 3 or 4",
                item.start,
                "write file:device:permission:format",
            )
        for field, name in zip(item.fields, ("file", "device", "permission", "format"), strict=False):
            if not field.text:
                raise _error(
                    f"the {name} of '{item.text}' is empty", field.start, "write file:device:permission:format"
                )
        disks.append(VmDisk(*(field.text for field in item.fields)))
    return tuple(disks)


def _error(what: str, offset: int, hint: str) -> VmDiskError:
    return VmDiskError(what, where=Location("vm_disk", 1, offset + 1), hint=hint)


def format_disks(disks: Iterable[VmDisk], hypervisor: Hypervisor | None = None) -> str:
    """Return the value of vm_disk for `disks`; `parse` returns the same disks from it.

    Raises `VmDiskError` for anything that HTCondor or libvirt is known to refuse or misread: see `problem_of`
    and `conflict`. Without a hypervisor, a disk that works under neither is refused.
    """
    listed = tuple(disks)
    if not listed:
        raise VmDiskError("vm_disk needs at least one disk")
    for disk in listed:
        if problem := problem_of(disk, hypervisor):
            raise VmDiskError(problem)
    if problem := conflict(listed, hypervisor):
        raise VmDiskError(problem)
    return ",".join(f"{disk.file}:{disk.device}:{disk.permission}:{disk.format}" for disk in listed)


def problem_of(disk: VmDisk, hypervisor: Hypervisor | None = None) -> str | None:
    """Return why roost does not write this disk, or None (docs/vm-universe.md, section 2, "Emit only")."""
    hypervisors: tuple[Hypervisor, ...] = (hypervisor,) if hypervisor else ("kvm", "xen")
    parts = disk.file.removeprefix("/").split("/")
    is_cd = disk.file.endswith(".iso") and disk.device[:2] in ("hd", "sd") and disk.permission == "r"
    checks = (
        (
            not all(FILE_NAME.fullmatch(part) and part not in (".", "..") for part in parts),
            f"the disk's file {disk.file!r} may only have the characters A-Z a-z 0-9 . _ + -",
        ),
        (
            len(parts) > 1 and not disk.file.startswith("/"),
            f"the disk's file {disk.file!r} must be a plain name or an absolute path: HTCondor's sandbox is flat",
        ),
        (
            "iso" in disk.file and not is_cd,
            f"the disk's file {disk.file!r} contains 'iso', which HTCondor's script turns into a CD-ROM",
        ),
        (
            not any(DEVICES[one].fullmatch(disk.device) for one in hypervisors),
            f"{disk.device!r} is not a device of a {' or '.join(hypervisors)} machine",
        ),
        (disk.permission not in PERMISSIONS, f"the permission {disk.permission!r} is neither r nor w"),
        (
            not any(disk.format in FORMATS[one] for one in hypervisors),
            f"the format {disk.format!r} is not one of {', '.join(FORMATS[hypervisors[0]])}",
        ),
        (
            disk.device.startswith("hd") and disk.permission == "r" and not is_cd and hypervisor != "xen",
            "libvirt refuses a read-only IDE disk: put it on vdX",
        ),
    )
    return next((problem for wrong, problem in checks if wrong), None)


def conflict(disks: Iterable[VmDisk], hypervisor: Hypervisor | None = None) -> str | None:
    """Return why these disks cannot be in one machine, or None.

    libvirt refuses the same target twice. A Xen guest sees xvda, sda and hda all as xvda, so one would be missing.
    """
    seen: dict[str, str] = {}
    for disk in disks:
        slots = guest_slots(disk.device, hypervisor)
        for slot in slots:
            for taken, device in seen.items():
                if taken == slot:
                    return f"the devices {device} and {disk.device} are the same one"
        seen.update(dict.fromkeys(slots, disk.device))
    return None


def guest_slots(device: str, hypervisor: Hypervisor | None) -> tuple[str, ...]:
    """Return the names under which a guest can see `device`; two disks that share one conflict."""
    match = _DEVICE.fullmatch(device)
    if hypervisor != "xen" or not match:
        return (device,)
    number = "" if match["bus"] == "hd" else match["partition"]
    return (f"xvd{match['letters']}{number}",)
