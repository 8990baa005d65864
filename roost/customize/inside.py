"""Where a path of an image really is: links followed inside of the image, without asking anything that would leave it.

libguestfs follows links inside of the image in calls that read; its tar does not. So names are resolved here, before
they go into a tar, also through links that the same tar brings.
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
    """What is asked of an image; `roost.host.guestfs.Guest` is one."""

    def lstat(self, path: str) -> Stat | None:
        """Return what is at a path, links not followed, or None."""

    def readlink(self, path: str) -> str:
        """Return where a symbolic link points."""


@dataclass(slots=True)
class Inside:
    """A view of an image and of what is about to be laid over it."""

    image: Looking
    #: What is known of paths that lead through no link.
    _known: dict[str, Entry] = field(default_factory=dict)

    def kind(self, real: str) -> Entry:
        """Return what is at a resolved path."""
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
        """Return where a path is, links on the way followed; the `last` name too if asked.

        What is not there is where it would be made. Raises `ImageError` for links in a circle, and for a way through a
        file.
        """
        try:
            return rooted.follow(path, self.kind, last=last)
        except NotADirectoryError as error:
            raise ImageError(f"{shown(path)}: {shown(str(error.filename))} is not a directory in the image") from error
        except OSError as error:
            raise ImageError(f"{shown(path)} leads through too many links in the image") from error

    def place(self, items: Iterable[Item]) -> list[Item]:
        """Return items at the paths where they really go, with the directories that lack on the way."""
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
        """Look again: something changed the image."""
        self._known.clear()


def _joined(directory: str, name: str) -> str:
    return f"{directory.rstrip('/')}/{name}"
