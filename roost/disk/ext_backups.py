"""The backups of an ext file system's superblock and group descriptors: renewed, as mke2fs writes them.

debugfs changes the first copy only (e2fsprogs, EXT2_FLAG_MASTER_SB_ONLY). What it makes the same on all hosts would
still differ in the backups, and they would lack the device nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from roost.disk.ext_space import table_block
from roost.disk.layout import Extent
from roost.errors import ImageError

#: Bytes of the superblock, and where it lies in the file system.
SIZE = 1024
#: Fields of the superblock (linux, fs/ext4/ext4.h; Documentation/filesystems/ext4, "Super Block").
MAGIC, STATE, GROUP = 0x38, 0x3A, 0x5A
INCOMPATIBLE, READ_ONLY, DESCRIPTOR, CHECKSUM = 0x60, 0x64, 0xFE, 0x3FC
EXT_MAGIC, VALID = 0xEF53, 0x1
SPARSE_SUPER, METADATA_CSUM, META_BG, WIDE = 0x1, 0x400, 0x10, 0x80
#: CRC-32C, its polynomial reflected (RFC 3720, section 12.1).
_POLYNOMIAL = 0x82F63B78


def renew(disk: Path, at: Extent) -> None:
    """Write all backups anew from the first copy.

    Raises `ImageError` for a layout that roost's mke2fs.conf does not make (meta_bg, or no sparse_super).
    """
    with disk.open("r+b") as file:
        file.seek(at.offset + SIZE)
        first = file.read(SIZE)
        if len(first) < SIZE or _short(first, MAGIC) != EXT_MAGIC:
            raise ImageError(f"{disk.name} has no ext file system at byte {at.offset}")
        incompatible, read_only = _long(first, INCOMPATIBLE), _long(first, READ_ONLY)
        if incompatible & META_BG or not read_only & SPARSE_SUPER:
            raise ImageError(
                f"the backups of the file system at byte {at.offset} of {disk.name} are not where expected"
            )
        block = 1024 << _long(first, 0x18)
        begin, per_group = _long(first, 0x14), _long(first, 0x20)
        blocks = _long(first, 0x04) | (_long(first, 0x150) << 32 if incompatible & WIDE else 0)
        groups = -(-(blocks - begin) // per_group)
        descriptor = _short(first, DESCRIPTOR) if incompatible & WIDE else 32
        file.seek(at.offset + table_block(block) * block)
        table = file.read(-(-groups * descriptor // block) * block)
        for group in backup_groups(groups):
            start = at.offset + (begin + group * per_group) * block
            file.seek(start)
            file.write(backup(first, group, checksum=bool(read_only & METADATA_CSUM)))
            file.seek(start + block)
            file.write(table)


def backup_groups(groups: int) -> Iterator[int]:
    """Yield the groups with a backup: 1, and the powers of 3, 5 and 7 (sparse_super)."""
    numbers = {1} if groups > 1 else set()
    for base in (3, 5, 7):
        power = base
        while power < groups:
            numbers.add(power)
            power *= base
    yield from sorted(numbers)


def backup(first: bytes, group: int, *, checksum: bool) -> bytes:
    """Return the superblock's backup in `group`: marked as not valid, as e2fsprogs does (ext2fs_flush2)."""
    made = bytearray(first)
    struct.pack_into("<H", made, STATE, _short(first, STATE) & ~VALID)
    struct.pack_into("<H", made, GROUP, group & 0xFFFF)
    if checksum:
        struct.pack_into("<I", made, CHECKSUM, crc32c(bytes(made[:CHECKSUM])))
    return bytes(made)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data` as ext4 stores it: begun with ones, not inverted at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc


def _short(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 2], "little")


def _long(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")
