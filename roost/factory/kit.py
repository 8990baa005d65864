"""A recipe with all that it names, as one tar(1) that another machine unpacks: the same names below another directory.

Names in a recipe are relative; so a copy of the directories that lead from one to the other keeps their meaning, and
with it the key of the recipe.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from roost.errors import UsageError
from roost.host import process
from roost.store import keys

#: Seconds; inputs may be images of many gigabytes.
DEADLINE = 3600
#: Times to the nanosecond, holes as holes: what is unpacked is what a build left.
PACK = ("tar", "--format=posix", "--sparse", "--numeric-owner", "-c")
#: Modes and times as they were; names that lead out of the directory are refused by tar itself.
UNPACK = ("tar", "--sparse", "--numeric-owner", "-p", "-x")


def root(inputs: Iterable[Path]) -> Path:
    """Return the nearest directory that all inputs are in."""
    return Path(os.path.commonpath([path.parent for path in inputs]))


def inputs(files: Sequence[Path], named: Sequence[tuple[Path, str]]) -> list[Path]:
    """Return the files of a recipe and all that it names, with what links among them lead to.

    `named` are (directory, name). Raises `UsageError` for an absolute name: on another machine it is another file.
    """
    found = dict.fromkeys(files)
    for directory, name in named:
        if name.startswith("/"):
            raise UsageError(
                f"{files[0]} names {name}, which is another file on another machine",
                hint="write a name relative to the recipe",
            )
        top = Path(os.path.abspath(directory / name))  # noqa: PTH100 - links stay as they are named
        for path in keys.walk(top):
            found[path] = None
            if path.is_symlink():
                found |= dict.fromkeys(keys.walk(path.resolve()))
    return [path for path in found if os.path.lexists(path)]


def pack(top: Path, members: Iterable[Path], archive: Path) -> None:
    """Write the tar of some paths, relative to the directory `top`; nothing below a directory but what is named too.

    Only its owner can read it.
    """
    names = sorted(os.fsencode(path.relative_to(top)) for path in members)
    argv: list[str | Path] = [
        *PACK,
        "-f",
        archive,
        "-C",
        top,
        "--no-recursion",
        "--null",
        "--verbatim-files-from",
        "-T",
        "-",
    ]
    listed = b"".join(name + b"\0" for name in names)
    # A recipe may name files of passwords: what it is packed into is for nobody else.
    archive.touch(mode=0o600)
    process.run(argv, deadline=DEADLINE, stdin=listed, what=f"cannot pack {archive.name}")


def pack_tree(directory: Path, archive: Path) -> None:
    """Write the tar of a directory with all that is in it, under its own name."""
    argv: list[str | Path] = [*PACK, "-f", archive, "-C", directory.parent, "--", directory.name]
    process.run(argv, deadline=DEADLINE, what=f"cannot pack {directory}")


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a tar into a directory, which is created."""
    directory.mkdir(parents=True, exist_ok=True)
    process.run([*UNPACK, "-f", archive, "-C", directory], deadline=DEADLINE, what=f"cannot unpack {archive.name}")
