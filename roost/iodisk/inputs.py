"""What goes into an io disk: files and folders of the host, copied into a folder as the guest will see them.

A file keeps its name, a folder too; with a slash at its end a folder stands for what is in it (as in rsync). Only
plain files, folders, and links that stay inside of their folder can travel.
"""

from __future__ import annotations

import os
import shutil
import stat
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from roost.errors import Location, Problem
from roost.recipe.words import shown


@dataclass(frozen=True, slots=True)
class Item:
    """One name below input/: where it comes from, and its path there, with `/` between its parts."""

    source: Path
    target: str


def items(given: Iterable[str], folder: Path, where: Location | None = None) -> tuple[list[Item], list[Problem]]:
    """Return what the names in `given` (relative ones start from `folder`) put below input/, and what is wrong."""
    found: list[Item] = []
    problems: list[Problem] = []
    taken: dict[str, str] = {}
    for name in given:
        path = folder / name
        if not name or "\0" in name or not path.exists():
            problems.append(Problem(f"there is no file or folder '{shown(name)}'", where, f"looked in {folder}"))
            continue
        if path.is_dir() and (name.endswith(("/", "/.")) or name in {".", ".."}):
            new = [Item(entry, entry.name) for entry in sorted(path.iterdir())]
        else:
            new = [Item(path, path.resolve().name if name.rstrip("/").endswith("..") else Path(name).name)]
        for item in new:
            if item.target in taken:
                what = f"'{shown(name)}' and '{shown(taken[item.target])}' both give {shown(item.target)}"
                problems.append(Problem(what, where, "two inputs cannot have one name: rename one"))
            taken[item.target] = name
            found.append(item)
    for item in found:
        problems += [Problem(what, where, hint) for what, hint in _untransportable(item.source)]
    return found, problems


def _walk(path: Path) -> Iterator[Path]:
    yield path
    if path.is_dir():
        for parent, folders, files in os.walk(path):
            yield from (Path(parent, name) for name in (*folders, *files))


def _untransportable(top: Path) -> Iterator[tuple[str, str]]:
    base = top.resolve()
    for path in _walk(top):
        mode = path.lstat().st_mode
        name = shown(str(path), 200)
        if stat.S_ISLNK(mode):
            # The name that the user gave may be a link: it is followed.
            target = path.parent.resolve() / path.readlink()
            if path != top and (path.readlink().is_absolute() or not _inside(target, base)):
                yield f"the link {name} leads out of its folder", "copy what it points to in its place"
        elif not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
            yield f"{name} is neither a file nor a folder", "leave it out"
        elif not os.access(path, os.R_OK):
            yield f"{name} cannot be read", "chmod +r"


def _inside(path: Path, base: Path) -> bool:
    return Path(os.path.normpath(path)).is_relative_to(base)


def fill(folder: Path, chosen: Iterable[Item], epoch: int) -> None:
    """Copy the items below `folder`; no time is later than `epoch`, no mode has more than rwx."""
    for item in chosen:
        target = folder / item.target
        if item.source.is_dir():
            shutil.copytree(item.source, target, symlinks=True, copy_function=_copy)
        else:
            _copy(str(item.source), str(target))
    for path in sorted(_walk(folder), key=lambda one: len(one.parts), reverse=True):
        status = path.lstat()
        if not stat.S_ISLNK(status.st_mode):
            path.chmod(status.st_mode & 0o777 | (0o700 if stat.S_ISDIR(status.st_mode) else 0o400))
        when = min(int(status.st_mtime), epoch)
        os.utime(path, (when, when), follow_symlinks=False)


def _copy(source: str, target: str, *, follow_symlinks: bool = True) -> str:
    path = Path(source)
    if path.is_symlink() and not follow_symlinks:
        Path(target).symlink_to(path.readlink())
        return target
    # Not the attributes: owners and names of security modules mean nothing in the guest.
    shutil.copyfile(source, target)
    status = path.stat()
    Path(target).chmod(status.st_mode & 0o777)
    os.utime(target, ns=(status.st_mtime_ns, status.st_mtime_ns))
    return target


def newest(chosen: Iterable[Item]) -> int:
    """Return the latest modification time of all that goes in, in seconds since 1970; at least 1."""
    times = [int(path.lstat().st_mtime) for item in chosen for path in _walk(item.source)]
    return max([1, *times])
