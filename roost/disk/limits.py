"""The minimum and maximum of each file system type, according to its tool and its readers. Pure."""

from __future__ import annotations

from roost.disk.layout import MiB
from roost.recipe.model import FileSystem

#: The minimum size of a file system in bytes: below it, its tool refuses or there is only space for metadata. mkfs.xfs
#: (5.19 and later) refuses sizes below 300 MiB. btrfs has a second superblock at 64 MiB, without which busybox does not
#: detect it (libbb/volume_id/btrfs.c); mkfs.btrfs needs 109 MiB unless data and metadata are mixed.
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
#: Read-only file systems.
READ_ONLY: frozenset[FileSystem] = frozenset({"squashfs", "erofs"})
