"""Paths inside an untrusted tree: links are followed as its guest would, never out of the tree.

A tree may hold `boot -> /etc` or `vmlinuz -> /etc/shadow`: a plain read would copy the host's own file into an image.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

#: Links followed before ELOOP (path_resolution(7): 40).
LINKS = 40


@dataclass(frozen=True, slots=True)
class Link:
    """A symbolic link and its target."""

    target: str


#: What is at a path: a link, a directory, anything else, or nothing.
Entry = Link | Literal["directory", "file", ""]


def follow(path: str, look: Callable[[str], Entry], *, last: bool = True) -> str:
    """Return the absolute path of `path` in a tree with links followed; the `last` component too if set.

    `look` returns the entry at an absolute path without links. A path that does not exist is returned as it would be
    named. Raises OSError for a loop (ELOOP) and for a component that is not a directory (ENOTDIR), with its path.
    """
    todo = _parts(path)[::-1]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop()
        if part == "..":
            done = done[:-1]
            continue
        here = "/" + "/".join([*done, part])
        entry = look(here)
        if isinstance(entry, Link) and (todo or last):
            links += 1
            if links > LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), path)
            done = [] if entry.target.startswith("/") else done
            todo += _parts(entry.target)[::-1]
        elif entry == "file" and todo:
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), here)
        else:
            done.append(part)
    return "/" + "/".join(done)


def _parts(path: str) -> list[str]:
    return [part for part in path.split("/") if part not in {"", "."}]


def resolve(root: Path, path: str | os.PathLike[str]) -> Path:
    """Return the path of `path` (as the guest names it) below `root`, with every link followed inside.

    A path that does not exist is returned as it would be named. Raises OSError for a loop or a component that is not a
    directory.
    """

    def look(inside: str) -> Entry:
        here = root / inside[1:]
        try:
            mode = here.lstat().st_mode
        except FileNotFoundError:
            return ""
        if stat.S_ISLNK(mode):
            return Link(os.fspath(here.readlink()))
        return "directory" if stat.S_ISDIR(mode) else "file"

    return root / follow(os.fspath(path), look)[1:]


def is_file(root: Path, path: str | os.PathLike[str]) -> bool:
    """Return whether there is a regular file at `path`, links followed inside."""
    try:
        return stat.S_ISREG(resolve(root, path).lstat().st_mode)
    except OSError:
        return False


def exists(root: Path, path: str | os.PathLike[str]) -> bool:
    """Return whether `path` exists, links followed inside."""
    try:
        resolve(root, path).lstat()
    except OSError:
        return False
    return True


def names(root: Path, path: str | os.PathLike[str]) -> list[str]:
    """Return the names in a directory, sorted; empty when it is not a directory."""
    try:
        directory = resolve(root, path)
        return sorted(entry.name for entry in directory.iterdir()) if stat.S_ISDIR(directory.lstat().st_mode) else []
    except OSError:
        return []
