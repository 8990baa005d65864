"""A disk that came back from a job, opened as what it is: data of a stranger.

It is looked at before any tool opens it: a qcow2 that names other files (a backing file, an external data file) would
make the tool read those of this host. Then its file system is copied out, and only the copy is worked on.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

from roost.boot.evidence import StoppedDisk
from roost.errors import ImageError
from roost.host import process

_QCOW2 = b"QFI\xfb"
#: A larger one is no disk of a job, but a trap for whoever copies it.
LARGEST = 16 << 40
#: incompatible_features of a qcow2 (QEMU, docs/interop/qcow2.txt): the bits that are harmless here.
_HARMLESS = 0b1 | 0b1000 | 0b10000
#: Limits for tools that read a stranger's data: bytes of memory, no core files.
LIMITS = ["prlimit", f"--as={2 << 30}", "--core=0", "--"]
REPAIR_DEADLINE = 300.0


class UnreadableError(ImageError):
    """The disk cannot be read, or must not be."""


@dataclass(frozen=True, slots=True)
class FileSystemCopy:
    """A file system of the disk: a raw copy that may be written to, its type, size in bytes, whether it was clean."""

    path: Path
    type: str
    size: int
    clean: bool | None
    seen: str


def disk_format(path: Path) -> tuple[str, int]:
    """Return `raw` or `qcow2`, and the virtual size in bytes; raise `UnreadableError` for what must not be opened."""
    try:
        if not path.is_file():
            raise UnreadableError(f"{path.name} is no file")
        with path.open("rb") as file:
            head = file.read(112)
        size = path.stat().st_size
    except OSError as error:
        raise UnreadableError(f"{path.name} cannot be read: {error.strerror}") from error
    if size == 0:
        raise UnreadableError(f"{path.name} is empty")
    if head[:4] != _QCOW2:
        return "raw", size
    if len(head) < 72:
        raise UnreadableError(f"{path.name} is cut off in its header")
    version, backing, backing_size, _bits, virtual, encryption = struct.unpack_from(">IQIIQI", head, 4)
    features = struct.unpack_from(">Q", head, 72)[0] if version >= 3 and len(head) >= 80 else 0
    if backing or backing_size:
        raise UnreadableError(f"{path.name} is an overlay of another file, which is not opened")
    if encryption or features & ~_HARMLESS:
        raise UnreadableError(f"{path.name} is encrypted, corrupt, or keeps its data in another file")
    if not 0 < virtual <= LARGEST:
        raise UnreadableError(f"{path.name} claims to have {virtual} bytes")
    return "qcow2", virtual


def file_systems(path: Path, scratch: Path, prefix: str) -> list[FileSystemCopy]:
    """Return copies of the disk's file systems that can hold a job's files, largest part first. Writes to `scratch`."""
    kind, size = disk_format(path)
    node = {"driver": kind, "file": {"driver": "file", "filename": str(path.absolute())}}
    if kind == "qcow2":
        # Whatever the header says: no other file.
        node["backing"] = None  # type: ignore[assignment]
    disk = StoppedDisk(path.name, node, scratch, prefix)
    areas = [area for area in disk.areas() if area.type in {"ext", "vfat"}]
    if not areas:
        kinds = ", ".join(sorted({area.type for area in disk.areas() if area.type})) or "none"
        raise UnreadableError(f"{path.name} ({size} bytes) has no ext or vfat file system; found: {kinds}")
    found = []
    for area in sorted(areas, key=lambda one: -one.size):
        copy = disk.copy(area.number)
        needed = _needed(copy) if area.type == "ext" else 0
        if needed > area.size:
            raise UnreadableError(f"{path.name} is cut off: its file system has {needed} bytes, {area.size} are there")
        if area.type == "ext" and area.clean is not True:
            _repair(copy)
        found.append(FileSystemCopy(copy, area.type, area.size, area.clean, area.seen))
    return found


def _needed(copy: Path) -> int:
    """Return the size in bytes that an ext superblock tells (Documentation/filesystems/ext4/super.rst)."""
    with copy.open("rb") as file:
        superblock = file.read(2048)[1024:]
    low, exponent = struct.unpack_from("<I", superblock, 0x4)[0], struct.unpack_from("<I", superblock, 0x18)[0]
    high = struct.unpack_from("<I", superblock, 0x150)[0] if struct.unpack_from("<I", superblock, 0x60)[0] & 0x80 else 0
    if exponent > 6:
        raise UnreadableError("its superblock is damaged")
    return int((high << 32 | low) << (10 + exponent))


def _repair(copy: Path) -> None:
    """Replay the journal of the copy, and mend what the cut left."""
    process.run(
        [*LIMITS, "e2fsck", "-f", "-y", copy.name],
        deadline=REPAIR_DEADLINE,
        capture=True,
        check=False,
        cwd=copy.parent,
    )
