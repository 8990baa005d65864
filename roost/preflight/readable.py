"""What of a local directory among a recipe's files cannot be read: it would be missing in the image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

from roost.errors import Problem
from roost.host import files, paths
from roost.recipe.loader import Loaded
from roost.recipe.reader import absolute
from roost.recipe.words import shown

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
