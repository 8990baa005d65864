"""Paths inside of a tree that is not to be trusted: links are followed as its guest would, never out of it.

A tree may hold `boot -> /etc` or `vmlinuz -> /etc/shadow`: read plainly, the host's own file would land in an image.
"""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

#: How many links are followed before it is a loop (path_resolution(7): 40).
LINKS = 40


def resolve(root: Path, path: str | os.PathLike[str]) -> Path:
    """Return where `path` (as the guest names it) lies below `root`: every link followed inside, none left in it.

    What does not exist is returned as it would be called. Raises OSError for a loop or a part that is no folder.
    """
    todo = [part for part in os.fspath(path).split("/") if part not in ("", ".")]
    done: list[str] = []
    links = 0
    while todo:
        part = todo.pop(0)
        if part == ".":
            continue
        if part == "..":
            done = done[:-1]
            continue
        here = root.joinpath(*done, part)
        try:
            mode = here.lstat().st_mode
        except FileNotFoundError:
            done.append(part)
            continue
        if stat.S_ISLNK(mode):
            links += 1
            if links > LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), os.fspath(path))
            target = os.fspath(here.readlink())
            if target.startswith("/"):
                done = []
            todo = [piece for piece in target.split("/") if piece not in ("", ".")] + todo
        elif todo and not stat.S_ISDIR(mode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), os.fspath(path))
        else:
            done.append(part)
    return root.joinpath(*done)


def is_file(root: Path, path: str | os.PathLike[str]) -> bool:
    """Return whether there is a regular file at `path`, links followed inside."""
    try:
        return stat.S_ISREG(resolve(root, path).lstat().st_mode)
    except OSError:
        return False


def exists(root: Path, path: str | os.PathLike[str]) -> bool:
    """Return whether there is anything at `path`, links followed inside."""
    try:
        resolve(root, path).lstat()
    except OSError:
        return False
    return True


def names(root: Path, path: str | os.PathLike[str]) -> list[str]:
    """Return the names in a folder, sorted; nothing when it is no folder."""
    try:
        folder = resolve(root, path)
        return sorted(entry.name for entry in folder.iterdir()) if stat.S_ISDIR(folder.lstat().st_mode) else []
    except OSError:
        return []
