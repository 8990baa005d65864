"""What each kind of file system can hold at least and at most, as its tool and its readers have it. Pure."""

from __future__ import annotations

from roost.disk.layout import MiB
from roost.recipe.model import FileSystem

#: The least size of a file system in bytes: below it, its tool refuses or nothing fits beside the metadata.
#: mkfs.xfs (5.19 and later) makes none below 300 MiB. btrfs has a second superblock at 64 MiB, and busybox finds none
#: without it (libbb/volume_id/btrfs.c); mkfs.btrfs needs 109 MiB unless data and metadata are mixed.
LEAST: dict[FileSystem, int] = {
    "ext4": MiB,
    "ext3": 16 * MiB,
    "ext2": MiB,
    "vfat": MiB,
    "swap": MiB,
    "squashfs": MiB,
    "erofs": MiB,
    "xfs": 300 * MiB,
    "btrfs": 112 * MiB,
}
#: The longest label; squashfs has none.
LABEL_LENGTH: dict[FileSystem, int] = {
    "ext4": 16,
    "ext3": 16,
    "ext2": 16,
    "swap": 15,
    "vfat": 11,
    "xfs": 12,
    "btrfs": 255,
    "squashfs": 0,
    "erofs": 15,
}
#: File systems that nobody can write to.
READ_ONLY: frozenset[FileSystem] = frozenset({"squashfs", "erofs"})
