"""The inputs of an io disk: files and directories of the host, and those that cannot be copied.

Files and directories keep their names; a directory with a trailing slash stands for its contents (as in rsync).
Only plain files, directories, and links that stay inside their directory can be copied; a link that is an input
itself is followed. Nothing is opened here.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Container, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from roost.errors import Location, Problem
from roost.host import paths
from roost.host.files import kind, remedy
from roost.recipe.reader import absolute
from roost.recipe.words import shown

#: The maximum number of problems reported per call; a whole root directory has thousands.
PROBLEMS = 100
#: The minimum number of bytes per name on any file system of an io disk: a directory entry of vfat.
_ENTRY = 32


@dataclass(frozen=True, slots=True)
class Input:
    """One name below input/: its source, and its path there, with `/` between its parts.

    `within` is the directory that its links may not leave, None for an input named by the user: its link is followed.
    """

    source: Path
    target: str
    within: Path | None = None


class TooMuchError(Exception):
    """The inputs are larger than the disk, or have more names than fit on it; `where` is their location in a file."""

    def __init__(self, where: Location | None = None) -> None:
        super().__init__("the inputs do not fit")
        self.where = where


@dataclass(slots=True)
class Room:
    """The space left on a disk for inputs: bytes, and names (each needs an entry)."""

    size: int
    names: int

    @classmethod
    def of(cls, size: int) -> Room:
        """Return the space on a disk of `size` bytes."""
        return cls(size, size // _ENTRY)

    def take(self, status: os.stat_result) -> None:
        """Subtract one file or directory; raise `TooMuchError` when it does not fit."""
        self.names -= 1
        self.size -= status.st_size if stat.S_ISREG(status.st_mode) else 0
        if self.names < 0 or self.size < 0:
            raise TooMuchError


def items(
    given: Iterable[str], directory: Path, where: Location | None = None, room: Room | None = None
) -> tuple[list[Input], list[Problem]]:
    """Return the items below input/ for the names in `given` (relative to `directory`), and the problems.

    Raises `TooMuchError` as soon as they are known to exceed `room`. Stops after `PROBLEMS` problems.
    """
    found: list[Input] = []
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    for name in given:
        path = directory / name
        wrong = _unusable(name, path, directory)
        if wrong is not None:
            problems.append(Problem(wrong[0], where, wrong[1]))
            continue
        if path.is_dir() and (name.endswith(("/", "/.")) or name in {".", ".."}):
            try:
                new = [Input(entry, entry.name, path) for entry in sorted(path.iterdir())]
            except OSError as error:
                problems.append(Problem(f"{shown(name, 200)} cannot be read: {error.strerror}", where))
                continue
        else:
            new = [Input(path, path.resolve().name if name.rstrip("/").endswith("..") else Path(name).name)]
        for item in new:
            if item.target in taken:
                what = f"'{shown(name)}' and '{shown(taken[item.target])}' both give {shown(item.target)}"
                problems.append(Problem(what, where, "two inputs cannot have one name: rename one"))
            taken[item.target] = name
            found.append(item)
    wrong_ones = (one for item in found for one in _untransportable(item, room))
    try:
        problems += [Problem(what, where, hint) for what, hint in islice(wrong_ones, PROBLEMS)]
    except TooMuchError as error:
        raise TooMuchError(where) from error
    return found, problems


def _unusable(name: str, path: Path, directory: Path) -> tuple[str, str | None] | None:
    """Return why `name` cannot be examined, and a hint; None when it can."""
    if not name or "\0" in name:
        return f"no such file or directory: '{shown(name)}'", f"looked in {directory}"
    try:
        path.stat()
    except OSError as error:
        if path.is_symlink() if error.errno != errno.ENAMETOOLONG else False:
            return f"the link {shown(name, 200)} {_broken(error)}", "remove it, or correct its target"
        if error.errno in {errno.ENOENT, errno.ENOTDIR}:
            return f"no such file or directory: '{shown(name)}'", f"looked in {directory}"
        return f"{shown(name, 200)} cannot be read: {error.strerror}", None
    return None


def _broken(error: OSError) -> str:
    loop = error.errno == errno.ELOOP
    return (
        "is part of a loop"
        if loop
        else "points to a file that does not exist"
        if error.errno == errno.ENOENT
        else str(error.strerror)
    )


def walk(top: Path, *, follow: bool = True, skip: Container[Path] = ()) -> Iterator[tuple[Path, os.stat_result]]:
    """Yield `top` and everything below it with its status, directories first; only `top` may be a link, if `follow`.

    A directory that is in `skip` once it was yielded is not listed. Raises `OSError` for one that cannot be listed.
    """
    status = top.stat() if follow else top.lstat()
    yield top, status
    todo = [top] if stat.S_ISDIR(status.st_mode) else []
    while todo:
        directory = todo.pop()
        if directory in skip:
            continue
        with os.scandir(directory) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        for entry in found:
            yield Path(entry.path), entry.stat(follow_symlinks=False)
        todo += [Path(entry.path) for entry in reversed(found) if entry.is_dir(follow_symlinks=False)]


def _untransportable(item: Input, room: Room | None) -> Iterator[tuple[str, str]]:
    within = (item.within or item.source).resolve()
    refused: set[Path] = set()
    try:
        for path, status in walk(item.source, follow=item.within is None, skip=refused):
            name, mode = _named(path), status.st_mode
            if room is not None:
                room.take(status)
            if stat.S_ISLNK(mode):
                to = path.readlink()
                if to.is_absolute() or not _inside(path.parent.resolve() / to, within):
                    yield f"the link {name} leads out of its directory", "copy what it points to in its place"
            elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
                yield f"{name} is {kind(mode)}, neither a file nor a directory", "leave it out"
            elif not os.access(path, os.R_OK | (os.X_OK if stat.S_ISDIR(mode) else 0)):
                refused.add(path)
                yield f"{name} cannot be read", remedy(path)
    except OSError as error:
        path = Path(os.fsdecode(error.filename or item.source))
        hint = remedy(path) if isinstance(error, PermissionError) else "leave it out"
        yield f"{_named(path)} cannot be read: {error.strerror}", hint


def _named(path: Path) -> str:
    return shown(paths.display(absolute(path)), 200)


def _inside(path: Path, base: Path) -> bool:
    return Path(os.path.normpath(path)).is_relative_to(base)


def newest(chosen: Iterable[Input]) -> int:
    """Return the latest modification time of all inputs, in seconds since 1970; at least 1."""
    times = [int(status.st_mtime) for item in chosen for _, status in walk(item.source, follow=item.within is None)]
    return max([1, *times])


def size(chosen: Iterable[Input]) -> int:
    """Return the total size of all input files in bytes."""
    return sum(
        status.st_size
        for item in chosen
        for _, status in walk(item.source, follow=item.within is None)
        if stat.S_ISREG(status.st_mode)
    )
