"""The stage that makes an image of its root tree, or of the image that it edits: what makes it, and its key."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from roost.customize import inputs
from roost.disk import grub
from roost.recipe.loader import Loaded
from roost.store.stage import Stage

STAGE = Stage(
    "image",
    ("roost.pipeline.construct",),
    (
        *("mke2fs", "mkfs.vfat", "mkfs.xfs", "mkfs.btrfs", "mksquashfs", "mkfs.erofs", "mkswap", "debugfs", "e2fsck"),
        *("btrfs", "xfs_repair", "fsck.vfat"),
        *("sfdisk", "qemu-img", "grub-mkimage", "grub2-mkimage", "mcopy", "mmd", "tar", "find", "touch"),
        *("cpio", "zstd", "depmod"),
        # GRUB's modules come from these directories, all from one package.
        *(f"{directory}/{name}" for directory in grub.DIRECTORIES for name in ("boot.img", "kernel.img")),
    ),
    # What checks a recipe, boots the image or shows what is published changes nothing in it.
    left_out=("roost.preflight", "roost.boot", "roost.catalogue"),
)


def key(
    loaded: Loaded, source: str, kernel: Mapping[str, str] | None = None, loader: Sequence[Sequence[str]] = ()
) -> str:
    """Return the key of an image; `source` is that of its source, `kernel` are the sums of a kernel that is files.

    `loader` are the packages that the boot loader is made of.
    """
    made_of: dict[str, Any] = {"recipe": inputs.recipe_key(loaded.recipe, loaded.directory), "source": source}
    if loader:
        made_of["loader"] = loader
    return STAGE.key({**made_of, "kernel": kernel} if kernel is not None else made_of)
