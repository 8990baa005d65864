"""What every source of a root tree, a key of `os`, tells the rest of a recipe: its model's base."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from roost.recipe.base import Model


class Source(Model):
    """The keys of a source. A source that differs from these says so; what it does is a module of `roost.sources`."""

    #: Whether the tree is installed from an archive, kernel and initrd with it; else it exists, perhaps with its own.
    installs: ClassVar[bool] = False
    #: The kernel of the catalogue for a tree that has, and is given, none.
    default_kernel: ClassVar[str] = "debian-cloud"
    #: Whether it is a disk, which may stay as it is laid out.
    is_disk: ClassVar[bool] = False
    #: Where its keys name local files, and what each must be (`roost.recipe.localfiles`).
    places: ClassVar[Mapping[tuple[str, ...], str]] = {}

    @property
    def local_files(self) -> tuple[str, ...]:
        """The local files that are used beside the tree, such as keys."""
        return ()

    @property
    def origin(self) -> str | None:
        """The local directory or file that the tree, or the disk, is in."""
        return None

    @property
    def directory(self) -> str | None:
        """The local directory that is the tree, which can be looked into."""
        return None

    @property
    def parent(self) -> str | None:
        """The other recipe whose image it is made from, by its name or its path from the recipe that names it."""
        return None

    @property
    def processor(self) -> str | None:
        """Debian's name of the architecture, where the recipe says it."""
        return None

    @property
    def busybox_mount(self) -> bool:
        """Whether the guest's mount(8) is, or may be, busybox', which finds no file system by its partition's UUID."""
        return True
