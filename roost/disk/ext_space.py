"""What space an ext file system inside a disk file has, and which of its inodes are free.

debugfs tells the numbers: dumpe2fs of e2fsprogs 1.47.2 (Debian 13) does not take `FILE?offset=N`, debugfs of every
version does. It does not list the free inodes: they are read from the inode bitmaps, at the blocks that debugfs names.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from roost.disk.layout import Extent
from roost.errors import ImageError
from roost.host import process

_GROUP = re.compile(
    r" Group +\d+: block bitmap at \d+, inode bitmap at (\d+), inode table at \d+\n +\d+ free blocks?, (\d+) free"
)

#: Of a group descriptor: where its flags are; its block bitmap need not be read (ext4(5); linux, fs/ext4/ext4.h).
_BG_FLAGS, BLOCK_UNINIT = 0x12, 0x2


@dataclass(frozen=True, slots=True)
class Space:
    """What a written file system has: blocks of 4 KiB in all and free, inodes in all and free."""

    blocks: int
    free_blocks: int
    inodes: int
    free_inodes: int
    free_inode_ranges: tuple[tuple[int, int], ...]
    #: Group and flags of each block group whose block bitmap is not written (ext4's BLOCK_UNINIT).
    unwritten_bitmaps: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True, slots=True)
class Statistics:
    """What debugfs' `stats` says: the superblock's numbers by name, and of each group the block of its inode bitmap
    and how many of its inodes are free.
    """

    numbers: dict[str, int]
    groups: tuple[tuple[int, int], ...]


def target(disk: Path, at: Extent) -> str:
    """Return how e2fsprogs' tools name a file system inside a file: relative, so that no directory's `?` matters."""
    return f"{disk.name}?offset={at.offset}" if at.offset else disk.name


def read_space(disk: Path, at: Extent) -> Space:
    """Return the space of the file system at `at` of a raw disk file; reserved blocks do not count as free."""
    done = process.run(
        ["debugfs", "-R", "stats", target(disk, at)],
        deadline=300,
        capture=True,
        cwd=disk.parent,
        what=f"cannot read {disk.name}",
    )
    return space_of(disk, at, done.text)


def space_of(disk: Path, at: Extent, said: str) -> Space:
    """Return what `read_space` does, from what debugfs said last, `stats` included, and from what it has written."""
    # debugfs ends with 0 even when it could not open the file system.
    try:
        found = parse_stats(said)
        numbers = found.numbers
        ranges = tuple(_free_ranges(disk, at, found))
        free = sum(last - first + 1 for first, last in ranges)
        if free != numbers["Free inodes"]:
            raise ImageError(
                f"the inode bitmaps of {disk.name} do not match its superblock:"
                f" {free} and {numbers['Free inodes']} free inodes"
            )
        return Space(
            numbers["Block count"],
            numbers["Free blocks"] - numbers["Reserved block count"],
            numbers["Inode count"],
            numbers["Free inodes"],
            ranges,
            tuple(_unwritten(disk, at, found)),
        )
    except KeyError as error:
        raise ImageError(
            f"cannot read {disk.name}: debugfs does not say its {error.args[0]}", tail=process.tail(said)
        ) from error


def parse_stats(text: str) -> Statistics:
    """Return what debugfs' `stats` says."""
    numbers: dict[str, int] = {}
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if not key.startswith(" ") and value.strip().isdigit():
            numbers.setdefault(key, int(value))
    return Statistics(numbers, tuple((int(bitmap), int(free)) for bitmap, free in _GROUP.findall(text)))


def _free_ranges(disk: Path, at: Extent, found: Statistics) -> Iterator[tuple[int, int]]:
    """Yield the first and last number of each run of free inodes; numbers count from 1."""
    per_group, block = found.numbers["Inodes per group"], found.numbers["Block size"]
    with disk.open("rb") as file:
        for group, (bitmap, free) in enumerate(found.groups):
            first = group * per_group + 1
            if free == per_group:
                # Such a group's bitmap need not have been written (ext4's INODE_UNINIT).
                yield first, first + per_group - 1
            elif free:
                file.seek(at.offset + bitmap * block)
                # A bit for each inode, the lowest of a byte first.
                bits = int.from_bytes(file.read(-(-per_group // 8)), "little")
                used = format(bits & (1 << per_group) - 1 | 1 << per_group, "b")[:0:-1]
                for run in re.finditer("0+", used):
                    yield first + run.start(), first + run.end() - 1


def _unwritten(disk: Path, at: Extent, found: Statistics) -> Iterator[tuple[int, int]]:
    """Yield number and flags of each group with BLOCK_UNINIT; a file system without checksums of groups has none."""
    block, size = found.numbers["Block size"], found.numbers.get("Group descriptor size", 32)
    with disk.open("rb") as file:
        file.seek(at.offset + table_block(block) * block)
        table = file.read(size * len(found.groups))
    for group in range(len(found.groups)):
        start = group * size + _BG_FLAGS
        flags = int.from_bytes(table[start : start + 2], "little")
        if flags & BLOCK_UNINIT:
            yield group, flags


def table_block(block: int) -> int:
    """Return the block of the group descriptors: the one after the superblock, which lies at byte 1024."""
    return 1024 // block + 1
