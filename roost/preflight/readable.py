"""Local files among a recipe's files that cannot be read, and those that everybody can read only in the image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from roost.errors import Problem
from roost.host import files, paths
from roost.preflight.placed import Placed, placed
from roost.recipe.loader import Loaded
from roost.recipe.reader import absolute
from roost.recipe.words import counted, shown

#: Maximum number of problems per entry of the recipe.
MOST = 20


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each unreadable file or directory below a source; the loader reports the source itself."""
    for number, entry in enumerate(loaded.recipe.files):
        if not entry.source or "\0" in entry.source:
            continue
        top = absolute(loaded.directory / entry.source)
        try:
            if not top.is_dir() or not os.access(top, os.R_OK):
                continue
            for path in islice(_unreadable(top), MOST):
                name = shown(paths.display(path), 200)
                yield loaded.problem(("files", number, "source"), f"{name} cannot be read", files.remedy(path))
        except OSError:
            continue  # the loader reports it


def notes(loaded: Loaded) -> Iterator[Problem]:
    """Yield a note for each entry with files that only their owner can read here, and everybody in the image."""
    found: dict[int, list[Placed]] = {}
    for one in placed(loaded):
        if one.private:
            found.setdefault(one.number, []).append(one)
    for number, files_of in found.items():
        first = files_of[0]
        name = shown(paths.display(absolute(first.source)), 200) if first.source is not None else ""
        more = f" and {counted(len(files_of) - 1, 'other file')}" if len(files_of) > 1 else ""
        readable, has = ("are readable", "have") if more else ("is readable", "has")
        what = f"{name}{more} {readable} by the owner only, but {has} mode {first.mode:04o} in the image"
        yield loaded.problem(("files", number, "source"), what, 'set `mode`, such as "0600"')


def _unreadable(top: Path) -> Iterator[Path]:
    refused: list[Path] = []
    for directory, directories, names in os.walk(
        top, onerror=lambda error: refused.append(Path(os.fsdecode(error.filename)))
    ):
        yield from refused
        refused.clear()
        if not os.access(directory, os.R_OK | os.X_OK):
            directories.clear()
            yield Path(directory)
            continue
        for name in names:
            path = Path(directory, name)
            if not os.access(path, os.R_OK) and not path.is_symlink():
                yield path
    yield from refused
