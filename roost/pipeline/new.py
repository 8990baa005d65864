"""The steps of `inv new`: the recipe's path, and the files written."""

from __future__ import annotations

import os
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from roost.errors import HostError, UsageError
from roost.host import causes, output, paths
from roost.host.safetext import safe
from roost.recipe import start
from roost.recipe.reader import Reader, absolute
from roost.recipe.start import Answers
from roost.recipe.words import shown


def target(given: str) -> Path:
    """Return the path of the recipe for a NAME or a path. Raises `UsageError`."""
    if given.endswith((".yaml", ".yml")):
        path = Path(given)
    elif "/" in given:
        path = Path(f"{given}.yaml")
    else:
        path = paths.project_root() / "recipes" / f"{given}.yaml"
    if ".." in path.parts and not path.parent.is_dir():
        # A directory that `..` leaves again need not exist.
        path = Path(os.path.relpath(os.path.realpath(path.parent)), path.name)
    if not start.is_name(path.stem):
        raise UsageError(
            f"{safe(path.stem)!r} is not a valid image name",
            hint="lower-case letters, digits and ._+- after the first, at most 64 of them",
        )
    return path


def require_absent(path: Path) -> None:
    """Raise `UsageError` if the path exists."""
    if os.path.lexists(path):
        raise UsageError(f"{path} exists", hint="choose another name, or remove it first")


def new(given: str, answers: Answers) -> dict[str, Any]:
    """Write a recipe and the example of its job; return their paths. Existing files are not replaced.

    Raises `UsageError` for wrong answers and for files that exist, `HostError` for a directory that cannot be written;
    files already written are then removed.
    """
    mistakes = answers.mistakes()
    if mistakes:
        raise UsageError("; ".join(mistakes), hint="inv help new")
    recipe = target(given)
    files = start.written(recipe.stem, answers)
    try:
        for name in files:
            require_absent(recipe.parent / name)
        with ExitStack() as undo:
            for name, (text, mode) in files.items():
                path = recipe.parent / name
                _make(path.parent, undo)
                output.write(path, text.encode())
                undo.callback(path.unlink)
                path.chmod(mode)
            undo.pop_all()
    except OSError as error:
        what = f"{shown(os.fsdecode(error.filename), 200)} cannot be written: {error.strerror}"
        if isinstance(error, FileExistsError) or error.errno in output.NO_PATH:
            raise UsageError(what, hint="give the path of a recipe whose directory can be made") from error
        raise HostError(what, hint=causes.hint(error)) from error
    return {
        "name": recipe.stem,
        "recipe": str(recipe),
        "files": [str(recipe.parent / name) for name in files],
        "called": Reader(absolute(recipe), absolute(paths.project_root())).called(None, several=False),
    }


def _make(directory: Path, undo: ExitStack) -> None:
    """Make a directory with its missing parents; `undo` removes them."""
    if not directory.is_dir():
        _make(directory.parent, undo)
        directory.mkdir()
        undo.callback(directory.rmdir)
