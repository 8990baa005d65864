"""The stage that makes an image from its root tree, or from the image that it edits: its modules and its key."""

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
    # Checking a recipe, booting the image and showing what is published do not influence it.
    left_out=("roost.preflight", "roost.boot", "roost.catalogue"),
)


def key(
    loaded: Loaded, source: str, kernel: Mapping[str, str] | None = None, loader: Sequence[Sequence[str]] = ()
) -> str:
    """Return the key of an image; `source` is its source's key, `kernel` are the checksums of kernel files.

    `loader` are the packages from which the boot loader is made.
    """
    made_of: dict[str, Any] = {"recipe": inputs.recipe_key(loaded.recipe, loaded.directory), "source": source}
    if loader:
        made_of["loader"] = loader
    return STAGE.key({**made_of, "kernel": kernel} if kernel is not None else made_of)
