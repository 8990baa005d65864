"""Superblocks of the file systems that a guest left: their type, and whether they were unmounted. Pure."""

from __future__ import annotations

import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass

#: Bytes at the beginning of a disk or partition that hold every superblock examined (btrfs' is at 64 KiB).
HEAD = 128 << 10


def state(head: bytes) -> tuple[str, bool | None, str]:
    """Return type, whether it is clean, and why, from the first 128 KiB of a file system; type "" when unknown.

    Offsets: ext (Documentation/filesystems/ext4/super.rst), FAT (fs/fat/fatent.c, the dirty bit of the boot sector
    since Linux 3.10), btrfs (btrfs_super_block), xfs and others by their magic only.
    """
    padded = head.ljust(HEAD, b"\0")
    for kind, offset, magic in _MAGIC:
        if padded[offset : offset + len(magic)] == magic:
            judge = _JUDGES.get(kind)
            return (kind, *judge(padded)) if judge else (kind, True, "nothing to unmount")
    return "", None, ""


def _xfs_state(_head: bytes) -> tuple[bool | None, str]:
    return None, "whether its log is empty was not checked"


def _btrfs_state(head: bytes) -> tuple[bool | None, str]:
    if struct.unpack_from("<Q", head, 0x10000 + 0x60)[0]:
        return False, "its log tree was not replayed"
    return True, "no log to replay"


def _fat_state(head: bytes) -> tuple[bool | None, str]:
    dirty = head[0x41 if head[82:87] == b"FAT32" else 0x25] & 1
    return (False, "its dirty bit is set") if dirty else (True, "unmounted")


@dataclass(frozen=True, slots=True)
class ExtSuperblock:
    """Fields of an ext superblock (Documentation/filesystems/ext4/super.rst): `errors` is the kernel's error count.

    `faulty`: the kernel found errors, counted or not. `size` and `block` are in bytes, 0 when invalid.
    """

    clean: bool
    faulty: bool
    errors: int
    journal_to_replay: bool
    block: int
    size: int


def ext(head: bytes) -> ExtSuperblock:
    """Return the superblock at the beginning of an ext file system, of which `head` is at least 2 KiB."""

    def number(offset: int) -> int:
        return int(struct.unpack_from("<I", head, 1024 + offset)[0])

    state, errors, incompatible, exponent = number(0x38) >> 16, number(0x194), number(0x60), number(0x18)
    # e2fsck reports a larger exponent as an error.
    block = 1024 << exponent if exponent <= 6 else 0
    blocks = number(0x4) | (number(0x150) << 32 if incompatible & 0x80 else 0)
    return ExtSuperblock(
        clean=bool(state & 0x1),
        faulty=bool(state & 0x2 or errors),
        errors=errors,
        journal_to_replay=bool(incompatible & 0x4),
        block=block,
        size=blocks * block,
    )


def _ext_state(head: bytes) -> tuple[bool | None, str]:
    superblock = ext(head)
    if superblock.faulty:
        return False, f"the kernel found {superblock.errors or 'some'} errors in it"
    if superblock.journal_to_replay:
        return False, "its journal was not replayed: it was cut off while mounted"
    if not superblock.clean:
        return False, "it was cut off while mounted"
    return True, "unmounted"


#: Type, offset and magic of file systems on a guest's disk, and the function that judges whether it is clean.
_MAGIC = (
    ("ext", 1080, b"\x53\xef"),
    ("xfs", 0, b"XFSB"),
    ("btrfs", 0x10040, b"_BHRfS_M"),
    ("squashfs", 0, b"hsqs"),
    ("erofs", 1024, b"\xe2\xe1\xf5\xe0"),
    ("swap", 4086, b"SWAPSPACE2"),
    ("vfat", 54, b"FAT12"),
    ("vfat", 54, b"FAT16"),
    ("vfat", 82, b"FAT32"),
)
_JUDGES: Mapping[str, Callable[[bytes], tuple[bool | None, str]]] = {
    "ext": _ext_state,
    "xfs": _xfs_state,
    "btrfs": _btrfs_state,
    "vfat": _fat_state,
}
