"""The superblock of an ext file system inside a disk file written by roost: its size, and the place of its groups.

Offsets: linux, fs/ext4/ext4.h, struct ext4_super_block; Documentation/filesystems/ext4, "Super Block".
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from roost.disk.layout import Extent
from roost.errors import ImageError

#: Bytes of the superblock, and its offset in the file system.
SIZE = 1024
SPARSE_SUPER, METADATA_CSUM, META_BG, WIDE = 0x1, 0x400, 0x10, 0x80
_MAGIC, _LARGEST_BLOCK = 0xEF53, 6
#: Offsets in a group descriptor: the block of its inode bitmap, its free inodes, its flags; the high halves of the
#: first two.
_BITMAP, _FREE, _FLAGS, _BITMAP_HIGH, _FREE_HIGH = 0x04, 0x0E, 0x12, 0x24, 0x2E


@dataclass(frozen=True, slots=True)
class Group:
    """A block group: the block of its inode bitmap, the number of its free inodes, its flags."""

    bitmap: int
    free: int
    flags: int


@dataclass(frozen=True, slots=True)
class Superblock:
    """A parsed superblock. `data` is all of it; `block` and `descriptor` are in bytes, the rest are numbers."""

    data: bytes
    block: int
    first_block: int
    blocks: int
    reserved_blocks: int
    free_blocks: int
    blocks_per_group: int
    inodes: int
    free_inodes: int
    inodes_per_group: int
    descriptor: int
    incompatible: int
    read_only: int

    @property
    def uuid(self) -> UUID:
        """The UUID of the file system."""
        return UUID(bytes=self.data[0x68:0x78])

    @property
    def groups(self) -> int:
        """The number of block groups."""
        return -(-(self.blocks - self.first_block) // self.blocks_per_group)

    @property
    def table(self) -> int:
        """The byte of the file system at which the group descriptors begin: the block after the superblock's."""
        return (SIZE // self.block + 1) * self.block

    def described(self, table: bytes) -> Iterator[Group]:
        """Yield the groups from the bytes of their descriptors."""
        for at in range(0, self.groups * self.descriptor, self.descriptor):
            bitmap, free = _long(table, at + _BITMAP), _short(table, at + _FREE)
            if self.descriptor >= 64:
                bitmap |= _long(table, at + _BITMAP_HIGH) << 32
                free |= _short(table, at + _FREE_HIGH) << 16
            yield Group(bitmap, free, _short(table, at + _FLAGS))


def read(disk: Path, at: Extent) -> Superblock:
    """Return the superblock of the file system at `at` of a raw disk file; raise `ImageError` if there is none."""
    with disk.open("rb") as file:
        file.seek(at.offset + SIZE)
        data = file.read(SIZE)
    if len(data) < SIZE or _short(data, 0x38) != _MAGIC or _long(data, 0x18) > _LARGEST_BLOCK:
        raise ImageError(f"cannot read {disk.name}: there is no ext file system at byte {at.offset}")
    incompatible = _long(data, 0x60)
    wide = bool(incompatible & WIDE)

    def blocks(low: int, high: int) -> int:
        return _long(data, low) | (_long(data, high) << 32 if wide else 0)

    return Superblock(
        data,
        block=1024 << _long(data, 0x18),
        first_block=_long(data, 0x14),
        blocks=blocks(0x04, 0x150),
        reserved_blocks=blocks(0x08, 0x154),
        free_blocks=blocks(0x0C, 0x158),
        blocks_per_group=_long(data, 0x20) or 1,
        inodes=_long(data, 0x00),
        free_inodes=_long(data, 0x10),
        inodes_per_group=_long(data, 0x28),
        descriptor=_short(data, 0xFE) if wide else 32,
        incompatible=incompatible,
        read_only=_long(data, 0x64),
    )


def _short(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<H", data, at)[0])


def _long(data: bytes, at: int) -> int:
    return int(struct.unpack_from("<I", data, at)[0])
