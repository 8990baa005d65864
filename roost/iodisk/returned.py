"""A disk that came back from a job, handled as untrusted data.

Its header is checked before a tool opens it: a qcow2 that names other files (a backing file, an external data file)
would make the tool read those of this host. Its file systems are then copied and checked, and only the copies are
used: a damaged file system is repaired in its copy, and the damage is reported.
"""

from __future__ import annotations

import json
import os
import resource
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError
from roost.host import files, jsontext, process, qcow2
from roost.iodisk.ext_check import MEMORY, check
from roost.iodisk.vfat_files import check_vfat
from roost.verify import superblocks
from roost.verify.evidence import Area, StoppedDisk
from roost.verify.superblocks import ExtSuperblock

#: A larger disk is not a job's, but an attempt to exhaust the host.
LARGEST = 16 << 40
#: Incompatible features of a qcow2 that are harmless here.
_HARMLESS = qcow2.DIRTY | qcow2.COMPRESSION | qcow2.EXTENDED_L2
CHECK_DEADLINE = 300.0


class UnreadableError(ImageError):
    """The disk cannot be read, or must not be."""


@dataclass(frozen=True, slots=True)
class FileSystemCopy:
    """A file system of the disk: a raw, writable copy, its type, size in bytes, and whether it was clean.

    `damage` has the reasons why a file may be missing or incomplete in it, `inodes` the inodes named there.
    """

    path: Path
    type: str
    size: int
    clean: bool | None
    seen: str
    damage: tuple[str, ...] = ()
    inodes: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class Returned:
    """A disk's file systems that can be read, largest first; the types of the others; its damage."""

    copies: tuple[FileSystemCopy, ...]
    unread: tuple[str, ...] = ()
    damage: tuple[str, ...] = ()


def disk_format(path: Path) -> tuple[str, int]:
    """Return `raw` or `qcow2`, and the virtual size in bytes; raise `UnreadableError` if it must not be opened."""
    try:
        with files.open_regular(path) as file:
            head = file.read(qcow2.HEAD)
            size = os.fstat(file.fileno()).st_size
    except OSError as error:
        raise UnreadableError(files.unreadable(path.name, error)) from error
    if size == 0:
        raise UnreadableError(f"{path.name} is empty")
    if not qcow2.is_qcow2(head):
        return "raw", size
    try:
        header = qcow2.read(head)
    except qcow2.NotQcow2Error as error:
        raise UnreadableError(f"{path.name} cannot be read as qcow2: {error}") from error
    if header.backing is not None:
        raise UnreadableError(f"{path.name} is an overlay of another file, which is not opened")
    if header.encrypted or header.incompatible & ~_HARMLESS:
        raise UnreadableError(f"{path.name} is encrypted, corrupt, or keeps its data in another file")
    if header.size > LARGEST:
        raise UnreadableError(f"{path.name} claims to have {header.size} bytes")
    return "qcow2", header.size


def file_systems(path: Path, scratch: Path, prefix: str) -> Returned:
    """Return copies of the disk's file systems that can hold a job's files, checked and repaired, in `scratch`.

    Raises `UnreadableError` when there are none, `HostError` when a copy would exceed the host's maximum file size.
    """
    kind, size = disk_format(path)
    allowed = resource.getrlimit(resource.RLIMIT_FSIZE)[0]
    if allowed != resource.RLIM_INFINITY and allowed < size:
        raise HostError(
            f"{path.name} has {size} bytes, and files of this process may have {allowed}",
            hint="raise the limit: ulimit -f",
        )
    # The disk's own name may be one that JSON and QEMU cannot express.
    link = scratch / f"{prefix}.image"
    link.symlink_to(path.absolute())
    node: dict[str, Any] = {"driver": kind, "file": {"driver": "file", "filename": str(link)}}
    damage: tuple[str, ...] = ()
    if kind == "qcow2":
        # No other file, whatever the header says.
        node["backing"] = None
        damage = _check_qcow2(path.name, node, scratch)
    disk = StoppedDisk(path.name, node, scratch, prefix)
    areas = disk.areas()
    found, unread = [], []
    for area in sorted(areas, key=lambda one: -one.size):
        what = f"partition {area.number}" if area.number else "the disk"
        if area.type not in {"ext", "vfat"}:
            if area.type != "swap" and (area.type or not area.no_files):
                unread.append(f"{what} ({area.type or area.seen or 'no known file system'})")
            continue
        needed = _superblock(disk.copy(area.number)).size if area.type == "ext" else 0
        if needed > area.size:
            damage += (f"{what} is cut off: its file system has {needed} bytes, only {area.size} are present",)
            continue
        found.append(_checked(disk.copy(area.number), area))
    if not found:
        if damage:
            raise UnreadableError(f"{path.name}: {'; '.join(damage)}")
        kinds = ", ".join(sorted({area.type for area in areas if area.type})) or "none"
        raise UnreadableError(f"{path.name} ({size} bytes) has no ext or vfat file system; found: {kinds}")
    return Returned(tuple(found), tuple(unread), damage)


def _checked(copy: Path, area: Area) -> FileSystemCopy:
    """Return the file system in `copy` after it was checked and, if needed, repaired."""
    if area.type == "vfat":
        process.require("fsck.fat", "dosfstools")
        return FileSystemCopy(copy, area.type, area.size, area.clean, area.seen, check_vfat(copy))
    process.require("e2fsck", "e2fsprogs")
    superblock = _superblock(copy)
    checked = check(copy, journal=superblock.journal_to_replay)
    damage = checked.damage
    if superblock.faulty:
        damage = (area.seen, *damage)
    return FileSystemCopy(copy, area.type, area.size, area.clean, area.seen, damage, checked.inodes)


def _check_qcow2(name: str, node: dict[str, Any], scratch: Path) -> tuple[str, ...]:
    """Return the damage to the tables of a qcow2 that can still be read; raise `UnreadableError` when it cannot.

    A leaked cluster may be one that a damaged table no longer refers to.
    """
    done = process.run(
        process.bounded(["qemu-img", "check", "--output=json", f"json:{json.dumps(node)}"], memory=MEMORY),
        deadline=CHECK_DEADLINE,
        capture=True,
        check=False,
        cwd=scratch,
    )
    if done.returncode == 0:
        return ()
    try:
        report = jsontext.loads(done.text)
        errors, leaks = int(report.get("corruptions", 0)), int(report.get("leaks", 0))
    except (ValueError, TypeError, AttributeError):
        errors, leaks = 0, 0
    if done.returncode == 3:
        return (f"{leaks} leaked clusters in the qcow2: their content may be missing",)
    raise UnreadableError(f"{name}: its qcow2 tables are damaged (qemu-img check: {errors or 'unknown'} errors)")


def _superblock(copy: Path) -> ExtSuperblock:
    with copy.open("rb") as file:
        return superblocks.ext(file.read(2048))
