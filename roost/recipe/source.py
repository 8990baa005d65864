"""The base model of the sources of a root tree, which are keys of `os`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from roost.recipe.base import Model


class Source(Model):
    """The keys of a source, with defaults that a source overrides; its code is a module of `roost.sources`."""

    #: Whether the tree is installed from an archive, including kernel and initrd; else it exists, maybe with its own.
    installs: ClassVar[bool] = False
    #: The kernel of the catalogue for a tree that has no kernel and whose recipe names none.
    default_kernel: ClassVar[str] = "debian-cloud"
    #: Whether the source is a disk, whose layout may be kept.
    is_disk: ClassVar[bool] = False
    #: The keys that name local files, and the required type of each (`roost.recipe.localfiles`).
    places: ClassVar[Mapping[tuple[str, ...], str]] = {}

    @property
    def local_files(self) -> tuple[str, ...]:
        """The local files used in addition to the tree, such as keys."""
        return ()

    @property
    def origin(self) -> str | None:
        """The local directory or file that contains the tree or the disk."""
        return None

    @property
    def directory(self) -> str | None:
        """The local directory that is the tree, which can be inspected."""
        return None

    @property
    def parent(self) -> str | None:
        """The other recipe whose image is used, by its name or its path relative to the recipe that names it."""
        return None

    @property
    def processor(self) -> str | None:
        """Debian's name of the architecture, where the recipe gives it."""
        return None

    @property
    def busybox_mount(self) -> bool:
        """Whether the guest's mount(8) is, or may be, busybox's, which cannot mount by PARTUUID."""
        return True
