"""The stage that makes an image from its root tree, or from the image that it edits: its modules and its keys."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roost.customize import inputs
from roost.disk import grub
from roost.recipe.loader import Loaded
from roost.store.stage import Stage

STAGE = Stage(
    "image",
    ("roost.pipeline.construct", "roost.pipeline.parameters"),
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


@dataclass(frozen=True, slots=True)
class Keys:
    """The key of an image, and the keys of less of it.

    `content` leaves out what only submit descriptions have, `base` the kernel's parameters, too. `recipe` is the key of
    the recipe with its local files.
    """

    image: str
    content: str
    base: str
    recipe: str


def keys(
    loaded: Loaded, source: str, kernel: Mapping[str, str] | None = None, loader: Sequence[Sequence[str]] = ()
) -> Keys:
    """Return the keys of an image; `source` is its source's key, `kernel` are the checksums of kernel files.

    `loader` are the packages from which the boot loader is made.
    """
    made_of: dict[str, Any] = {"source": source}
    if loader:
        made_of["loader"] = loader
    if kernel is not None:
        made_of["kernel"] = kernel
    found = inputs.recipe_keys(loaded.recipe, loaded.directory)
    return Keys(
        STAGE.key({**made_of, "recipe": found.whole}),
        STAGE.key({**made_of, "content": found.content}),
        STAGE.key({**made_of, "base": found.base}),
        found.whole,
    )
