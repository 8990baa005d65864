"""The backups of an ext file system's superblock and group descriptors, rewritten as mke2fs writes them.

debugfs changes only the first copy (e2fsprogs, EXT2_FLAG_MASTER_SB_ONLY). The backups would still depend on the host,
and lack the device nodes.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

from roost.disk import ext_superblock
from roost.disk.ext_superblock import META_BG, METADATA_CSUM, SPARSE_SUPER
from roost.disk.layout import Extent
from roost.errors import ImageError

#: Fields of the superblock (linux, fs/ext4/ext4.h; Documentation/filesystems/ext4, "Super Block").
STATE, GROUP, CHECKSUM = 0x3A, 0x5A, 0x3FC
VALID = 0x1
#: CRC-32C, its polynomial reflected (RFC 3720, section 12.1).
_POLYNOMIAL = 0x82F63B78


def renew(disk: Path, at: Extent) -> None:
    """Rewrite all backups from the first copy.

    Raises `ImageError` for a layout that roost's mke2fs.conf does not produce (meta_bg, or no sparse_super).
    """
    first = ext_superblock.read(disk, at)
    if first.incompatible & META_BG or not first.read_only & SPARSE_SUPER:
        raise ImageError(f"the backups of the file system at byte {at.offset} of {disk.name} are not where expected")
    with disk.open("r+b") as file:
        file.seek(at.offset + first.table)
        table = file.read(-(-first.groups * first.descriptor // first.block) * first.block)
        for group in backup_groups(first.groups):
            start = at.offset + (first.first_block + group * first.blocks_per_group) * first.block
            file.seek(start)
            file.write(backup(first.data, group, checksum=bool(first.read_only & METADATA_CSUM)))
            file.seek(start + first.block)
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
    struct.pack_into("<H", made, STATE, struct.unpack_from("<H", first, STATE)[0] & ~VALID)
    struct.pack_into("<H", made, GROUP, group & 0xFFFF)
    if checksum:
        struct.pack_into("<I", made, CHECKSUM, crc32c(bytes(made[:CHECKSUM])))
    return bytes(made)


def crc32c(data: bytes) -> int:
    """Return the CRC-32C of `data` as ext4 stores it: initialized with ones, not inverted at the end."""
    crc = 0xFFFFFFFF
    for byte in data:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_POLYNOMIAL if crc & 1 else 0)
    return crc
