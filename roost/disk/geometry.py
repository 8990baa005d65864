"""How large an ext file system must be for its content and the promised free space. Pure.

The formulas are mke2fs' own (e2fsprogs, lib/ext2fs/initialize.c and misc/util.c); the writer still verifies the free
space afterwards, and retries with a larger size if it is short.
"""

from __future__ import annotations

from dataclasses import dataclass

from roost.disk.measure import BLOCK, Content
from roost.recipe.model import FileSystem

MiB = 1 << 20
BLOCKS_PER_MIB = MiB // BLOCK
#: One bitmap block describes a group.
BLOCKS_PER_GROUP = 8 * BLOCK
INODES_PER_BLOCK = BLOCK // 256
#: mke2fs' default is one inode per 16 KiB; here it applies to the user's free space.
BYTES_PER_INODE = 16384
#: Free inodes even without free space: a guest makes a few files at its first boot.
LEAST_INODES = 256
RESERVED_INODES = 10
#: A journal has at least 4 MiB, and mke2fs gives it at most half of the free blocks: a smaller ext4 gets none.
LEAST_JOURNALLED = 16 * BLOCKS_PER_MIB
#: Journals in MiB for file systems below these sizes (in blocks); above the largest, 64 MiB.
JOURNALS = ((LEAST_JOURNALLED, 0), (128 * BLOCKS_PER_MIB, 4), (1024 * BLOCKS_PER_MIB, 16), (2048 * BLOCKS_PER_MIB, 32))
LARGEST_JOURNAL = 64
#: mke2fs does not use a last group with fewer blocks than this besides its metadata.
LEAST_GROUP = 50


@dataclass(frozen=True, slots=True)
class Geometry:
    """The shape of an ext file system: blocks of 4 KiB, inodes, journal in MiB (0: none)."""

    filesystem: FileSystem
    blocks: int
    inodes: int
    journal: int


def uses_extents(filesystem: FileSystem) -> bool:
    """Return whether files are mapped by extents (ext4), not by indirect blocks."""
    return filesystem == "ext4"


def kernel_reserve(filesystem: FileSystem, blocks: int) -> int:
    """Return the blocks that Linux reserves for itself on a mounted ext4: df never counts them as available.

    fs/ext4/super.c, ext4_calculate_resv_clusters: 2 %, at most 4096 blocks, only with extents.
    """
    return min(blocks // 50, 4096) if uses_extents(filesystem) else 0


def for_free(filesystem: FileSystem, content: Content, free: int, extra: int = 0) -> Geometry:
    """Return the smallest geometry in whole MiB with `free` bytes left for a normal user.

    `extra` blocks are added (or, if negative, subtracted) to correct an earlier attempt.
    """
    inodes = RESERVED_INODES + 1 + content.inodes + max(LEAST_INODES, -(-free // BYTES_PER_INODE))
    # Half a per cent and a little more for what names and sizes do not show: attributes, odd extents.
    wanted = max(0, content.blocks + content.blocks // 200 + 64 + extra) + -(-free // BLOCK)
    # Without its journal an ext3 is an ext2, and mounting it as ext3 fails.
    blocks = LEAST_JOURNALLED if filesystem == "ext3" else BLOCKS_PER_MIB
    while True:
        shape = Geometry(filesystem, blocks, inodes, _journal(filesystem, blocks))
        short = wanted + overhead(shape) + kernel_reserve(filesystem, blocks) - blocks
        if short <= 0:
            return shape
        # A group's metadata can appear or vanish with one MiB: near the end no size is skipped, so that asking for more
        # never gives less.
        blocks += max(1, (short - 2 * BLOCKS_PER_GROUP) // BLOCKS_PER_MIB) * BLOCKS_PER_MIB


def for_size(filesystem: FileSystem, content: Content, size: int) -> Geometry:
    """Return the geometry of a file system of `size` bytes, rounded up to whole MiB."""
    blocks = -(-size // MiB) * BLOCKS_PER_MIB
    free = max(0, blocks - content.blocks) * BLOCK
    inodes = RESERVED_INODES + 1 + content.inodes + max(LEAST_INODES, free // BYTES_PER_INODE)
    return Geometry(filesystem, blocks, inodes, _journal(filesystem, blocks))


def overhead(shape: Geometry) -> int:
    """Return the maximum number of metadata blocks of an empty file system of this shape."""
    groups = -(-shape.blocks // BLOCKS_PER_GROUP)
    per_descriptor_block = BLOCK // (64 if uses_extents(shape.filesystem) else 32)
    descriptors = -(-groups // per_descriptor_block)
    largest = min(0xFFFFFFFF, shape.blocks * 1024)
    growth = -(-largest // BLOCKS_PER_GROUP)
    reserved = min(BLOCK // 4, max(0, -(-growth // per_descriptor_block) - descriptors))
    per_copy = 1 + descriptors + reserved
    tables = -(-shape.inodes // (groups * INODES_PER_BLOCK))
    # mke2fs drops a small last group that has no room for its own metadata.
    rest = shape.blocks % BLOCKS_PER_GROUP
    group = 2 + tables + per_copy
    unused = rest if groups > 1 and 0 < rest < group + LEAST_GROUP else 0
    journal = shape.journal * BLOCKS_PER_MIB
    # The root directory, 16 KiB of lost+found, the resize inode's and the journal's indirect blocks.
    fixed = 1 + 4 + 1 + 1 + journal // 1024
    return _copies(groups) * per_copy + groups * (2 + tables) + journal + fixed + unused


def _copies(groups: int) -> int:
    """Return how many groups hold a copy of the superblock: 0, 1 and the powers of 3, 5 and 7 (sparse_super)."""
    count = min(groups, 2)
    for base in (3, 5, 7):
        power = base
        while power < groups:
            count += 1
            power *= base
    return count


def _journal(filesystem: FileSystem, blocks: int) -> int:
    if filesystem == "ext2":
        return 0
    return next((journal for below, journal in JOURNALS if blocks < below), LARGEST_JOURNAL)
