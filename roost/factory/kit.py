"""A recipe with all files that it names, as one tar(1) to unpack on another machine with the same relative names.

Names in a recipe are relative, so a copy of the directories on the way from one to the other keeps them valid, and
with them the key of the recipe.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from pathlib import Path

from roost.errors import UsageError
from roost.host import process
from roost.store import keys

#: Deadline in seconds; inputs may be images of many gigabytes.
DEADLINE = 3600
#: Preserves times to the nanosecond and holes, so that the result equals what a build left.
PACK = ("tar", "--format=posix", "--sparse", "--numeric-owner", "-c")
#: Preserves modes and times; tar itself refuses names that lead out of the directory.
UNPACK = ("tar", "--sparse", "--numeric-owner", "-p", "-x")


def root(inputs: Iterable[Path]) -> Path:
    """Return the deepest directory that contains all inputs."""
    return Path(os.path.commonpath([path.parent for path in inputs]))


def inputs(files: Sequence[Path], named: Sequence[tuple[Path, str]]) -> list[Path]:
    """Return the files of a recipe and all that it names, including the targets of links among them.

    `named` are (directory, name). Raises `UsageError` for an absolute name, which is another file on another machine.
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
    """Write a tar of some paths, relative to the directory `top`; a directory's contents are included only if named.

    The archive is readable by its owner only.
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
    # A recipe may name password files, so the archive is private.
    archive.touch(mode=0o600)
    process.run(argv, deadline=DEADLINE, stdin=listed, what=f"cannot pack {archive.name}")


def pack_tree(directory: Path, archive: Path) -> None:
    """Write a tar of a directory with its contents, under its own name."""
    argv: list[str | Path] = [*PACK, "-f", archive, "-C", directory.parent, "--", directory.name]
    process.run(argv, deadline=DEADLINE, what=f"cannot pack {directory}")


def unpack(archive: Path, directory: Path) -> None:
    """Unpack a tar to a directory, which is created."""
    directory.mkdir(parents=True, exist_ok=True)
    process.run([*UNPACK, "-f", archive, "-C", directory], deadline=DEADLINE, what=f"cannot unpack {archive.name}")
