"""The space of an ext file system inside a disk file, and its free inodes.

Read from its superblock, its group descriptors and its inode bitmaps, which mke2fs or debugfs have just written:
running another tool would cost as much as writing a small file system. The numbers must agree.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.disk import ext_superblock
from roost.disk.ext_superblock import Group, Superblock
from roost.disk.layout import Extent
from roost.errors import ImageError

#: A flag of a group descriptor: its block bitmap need not be read (ext4(5); linux, fs/ext4/ext4.h).
BLOCK_UNINIT = 0x2


@dataclass(frozen=True, slots=True)
class Space:
    """The space of a file system: total and free blocks of 4 KiB, total and free inodes."""

    blocks: int
    free_blocks: int
    inodes: int
    free_inodes: int
    free_inode_ranges: tuple[tuple[int, int], ...]
    #: Group and flags of each block group whose block bitmap is not written (ext4's BLOCK_UNINIT).
    unwritten_bitmaps: tuple[tuple[int, int], ...] = ()


def target(disk: Path, at: Extent) -> str:
    """Return e2fsprogs' name of a file system inside a file: relative, so that a `?` in a directory does not matter."""
    return f"{disk.name}?offset={at.offset}" if at.offset else disk.name


def read_space(disk: Path, at: Extent) -> Space:
    """Return the space of the file system at `at` of a raw disk file; reserved blocks do not count as free.

    Raises `ImageError` if there is none, or if its bitmaps and superblock do not agree.
    """
    found = ext_superblock.read(disk, at)
    try:
        with disk.open("rb") as file:
            file.seek(at.offset + found.table)
            groups = tuple(found.described(file.read(found.groups * found.descriptor)))
        ranges = tuple(_free_ranges(disk, at, found, groups))
    except struct.error as error:
        raise ImageError(f"cannot read {disk.name}: the file system at byte {at.offset} is cut off") from error
    free = sum(last - first + 1 for first, last in ranges)
    if free != found.free_inodes:
        raise ImageError(
            f"the inode bitmaps of {disk.name} do not match its superblock: {free} and {found.free_inodes} free inodes"
        )
    # Without group checksums the flags have no meaning, and are 0.
    unwritten = tuple((number, one.flags) for number, one in enumerate(groups) if one.flags & BLOCK_UNINIT)
    space = found.free_blocks - found.reserved_blocks
    return Space(found.blocks, space, found.inodes, found.free_inodes, ranges, unwritten)


def _free_ranges(disk: Path, at: Extent, found: Superblock, groups: Sequence[Group]) -> Iterator[tuple[int, int]]:
    """Yield the first and last number of each run of free inodes; numbers count from 1."""
    per_group = found.inodes_per_group
    with disk.open("rb") as file:
        for number, group in enumerate(groups):
            first = number * per_group + 1
            if group.free == per_group:
                # The bitmap of such a group may be unwritten (ext4's INODE_UNINIT).
                yield first, first + per_group - 1
            elif group.free:
                file.seek(at.offset + group.bitmap * found.block)
                # One bit for each inode, the lowest of a byte first.
                bits = int.from_bytes(file.read(-(-per_group // 8)), "little")
                used = format(bits & (1 << per_group) - 1 | 1 << per_group, "b")[:0:-1]
                for run in re.finditer("0+", used):
                    yield first + run.start(), first + run.end() - 1
