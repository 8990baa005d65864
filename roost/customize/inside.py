"""Resolves paths of an image: links are followed inside the image, without calls that could lead out of it.

libguestfs follows links inside the image in calls that read; its tar does not. So names are resolved here before they
go into a tar, including links that come with the same tar.
"""

from __future__ import annotations

import stat
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from pathlib import PurePosixPath
from typing import Protocol

from roost.customize.overlay import Item
from roost.errors import ImageError
from roost.host import rooted
from roost.host.guestfs import Stat
from roost.host.rooted import Entry, Link
from roost.recipe.words import shown


class Looking(Protocol):
    """The calls needed; `roost.host.guestfs.Guest` has them."""

    def lstat(self, path: str) -> Stat | None:
        """Return the status of a path, links not followed, or None."""

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link."""


@dataclass(slots=True)
class Inside:
    """A view of an image and of the items to be added to it."""

    image: Looking
    #: Known types of paths without links.
    _known: dict[str, Entry] = field(default_factory=dict)

    def kind(self, real: str) -> Entry:
        """Return the type of a resolved path."""
        if real not in self._known:
            seen = self.image.lstat(real)
            if seen is None:
                self._known[real] = ""
            elif stat.S_ISLNK(seen.mode):
                self._known[real] = Link(self.image.readlink(real))
            else:
                self._known[real] = "directory" if stat.S_ISDIR(seen.mode) else "file"
        return self._known[real]

    def resolve(self, path: str, *, last: bool) -> str:
        """Return a path with links followed; the `last` component too if set.

        A path that does not exist is returned as it would be created. Raises `ImageError` for a loop of links, and for
        a component that is a file.
        """
        try:
            return rooted.follow(path, self.kind, last=last)
        except NotADirectoryError as error:
            raise ImageError(f"{shown(path)}: {shown(str(error.filename))} is not a directory in the image") from error
        except OSError as error:
            raise ImageError(f"{shown(path)} leads through too many links in the image") from error

    def place(self, items: Iterable[Item]) -> list[Item]:
        """Return items at the paths to which links lead, with the missing parent directories."""
        placed: list[Item] = []
        for item in items:
            directory, _, name = item.path.rstrip("/").rpartition("/")
            is_directory = item.link is None and item.data is None and item.source is None
            real = (
                self.resolve(item.path, last=True)
                if is_directory
                else _joined(self.resolve(directory, last=True), name)
            )
            for parent in [str(one) for one in reversed(PurePosixPath(real).parents)][1:]:
                kind = self.kind(parent)
                if kind not in {"", "directory"}:
                    raise ImageError(f"{shown(item.path)}: {shown(parent)} is not a directory in the image")
                if kind == "":
                    self._known[parent] = "directory"
                    placed.append(Item(parent, 0o755))
            kind = self.kind(real)
            if kind == "directory" and not is_directory:
                raise ImageError(f"{item.path} is a directory in the image: a file cannot replace it")
            if kind == "file" and is_directory:
                raise ImageError(f"{item.path} is a file in the image: a directory cannot replace it")
            self._known[real] = "directory" if is_directory else "file" if item.link is None else Link(item.link)
            placed.append(replace(item, path=real))
        return placed

    def forget(self) -> None:
        """Drop cached types after a change of the image."""
        self._known.clear()


def _joined(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"
