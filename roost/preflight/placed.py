"""The names that a recipe's files get in the image, and their types, from local files alone."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roost.customize import templates
from roost.errors import RecipeError
from roost.host import files as host_files
from roost.host import rooted
from roost.recipe.customize import File
from roost.recipe.loader import Loaded

Kind = Literal["file", "directory", "link"]
#: Maximum number of names of a local directory that are examined; the rest is checked when the image is made.
MOST = 200_000


@dataclass(frozen=True, slots=True)
class Placed:
    """One name in the image: `number` is its entry in `files`; `size` and `allocated` are in bytes."""

    number: int
    path: str
    kind: Kind
    mode: int = 0o755
    size: int = 0
    allocated: int = 0
    link: str | None = None
    source: Path | None = None
    text: str | None = None
    template: str | None = None
    #: Whether its source is closed to all but its owner, and the recipe gives it no mode.
    private: bool = False

    @property
    def executable(self) -> bool:
        """Whether any user may execute it."""
        return bool(self.mode & 0o111)


def placed(loaded: Loaded) -> tuple[Placed, ...]:
    """Return every name that the recipe's files make, in order; unreadable local files are left out."""
    found: list[Placed] = []
    for number, entry in enumerate(loaded.recipe.files):
        for one in _of_entry(number, entry, loaded.directory):
            found.append(one)
            if len(found) >= MOST:
                return tuple(found)
    return tuple(found)


def _of_entry(number: int, entry: File, directory: Path) -> Iterator[Placed]:
    mode = int(entry.mode, 8) if entry.mode else None
    if entry.link is not None:
        yield Placed(number, entry.path, "link", 0o777, link=entry.link)
    elif entry.directory:
        yield Placed(number, entry.path, "directory", mode or 0o755)
    elif entry.content is not None:
        size = len(entry.content.encode("utf-8", "replace"))
        yield Placed(number, entry.path, "file", mode or 0o644, size, size, text=entry.content)
    elif entry.template is not None:
        yield Placed(number, entry.path, "file", mode or 0o644, template=entry.template)
    elif entry.source is not None:
        yield from _copied(number, entry.path, directory / entry.source, mode)


def _copied(number: int, path: str, source: Path, mode: int | None) -> Iterator[Placed]:
    try:
        status = source.stat()
    except (OSError, ValueError):
        return  # the loader reports what is wrong with it
    if not stat.S_ISDIR(status.st_mode):
        yield _file(number, path, source, status, mode)
        return
    for directory, directories, names in os.walk(source):
        directories.sort()
        below = Path(directory).relative_to(source).as_posix()
        here = path.rstrip("/") if below == "." else f"{path.rstrip('/')}/{below}"
        yield Placed(number, here or "/", "directory")
        for name in sorted([*names, *(one for one in directories if Path(directory, one).is_symlink())]):
            one = Path(directory, name)
            try:
                seen = one.lstat()
                if stat.S_ISLNK(seen.st_mode):
                    yield Placed(number, f"{here}/{name}", "link", 0o777, link=os.fspath(one.readlink()))
                else:
                    yield _file(number, f"{here}/{name}", one, seen, mode)
            except OSError:
                continue


def _file(number: int, path: str, source: Path, status: os.stat_result, mode: int | None) -> Placed:
    chosen = mode if mode is not None else 0o755 if status.st_mode & 0o111 else 0o644
    private = mode is None and not status.st_mode & 0o077
    return Placed(number, path, "file", chosen, status.st_size, status.st_blocks * 512, source=source, private=private)


def at(everything: Sequence[Placed], path: str) -> Placed | None:
    """Return the recipe's file at a path, its own links followed; None if there is none, or a link leads elsewhere."""
    last = {one.path: one for one in everything}

    def look(path: str) -> rooted.Entry:
        found = last.get(path)
        if found is None:
            return ""
        return (
            rooted.Link(found.link) if found.link is not None else "directory" if found.kind == "directory" else "file"
        )

    try:
        return last.get(rooted.follow(path, look))
    except OSError:
        return None


def content_key(loaded: Loaded, one: Placed) -> tuple[str | int, ...]:
    """Return the key of the recipe for a file's content, for a problem with it."""
    entry = loaded.recipe.files[one.number]
    keys = (key for key in ("content", "source", "template") if getattr(entry, key) is not None)
    return ("files", one.number, next(keys, "path"))


def text(loaded: Loaded, one: Placed) -> str:
    """Return the first 64 KiB of a file as text; empty if it cannot be read."""
    return (head(loaded, one, 1 << 16) or b"").decode("utf-8", "replace")


def head(loaded: Loaded, one: Placed, size: int = 4096) -> bytes | None:
    """Return the beginning of a file; None if it cannot be read."""
    if one.text is not None:
        return one.text.encode("utf-8", "replace")[:size]
    try:
        if one.template is not None:
            return templates.rendered(loaded)[one.template].encode("utf-8", "replace")[:size]
        if one.source is not None:
            with host_files.open_regular(one.source) as file:
                return file.read(size)
    except (OSError, RecipeError, KeyError):
        pass
    return None
