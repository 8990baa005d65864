"""The images of a factory that may have changed since a git revision: those with a changed input.

Inputs are the recipe, its bases, all local files that it names, its kernel's description and files, the same for the
recipes on which it is based, and roost's own code. A file unknown to git cannot be compared and counts as changed; so
does a recipe with mistakes.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from functools import cache
from pathlib import Path

from roost.errors import RecipeError, UsageError
from roost.factory import revisions
from roost.factory.revisions import Changes
from roost.host import paths
from roost.pipeline import planning
from roost.pipeline.family import Member
from roost.recipe import localfiles
from roost.recipe.loader import Loaded
from roost.store import closure, keys

#: The modules that make, boot and publish an image; how they are called and shown is not included.
MAKERS = ("roost.pipeline.build", "roost.pipeline.boot", "roost.pipeline.publish")


def since(members: Sequence[Member], revision: str) -> tuple[list[Member], list[str]]:
    """Return the images that may have changed since `revision`, and notes on the choice.

    Raises `UsageError` for recipes outside a repository, and for an unknown revision.
    """
    read = cache(lambda root: revisions.since(root, revision))
    changes = {member.called: read(_root(member.loaded)) for member in members if member.loaded is not None}
    why = next((what for one in changes.values() if (what := _code(one))), None)
    chosen, notes = [], [why] if why else []
    for member in members:
        if member.loaded is None or why:
            chosen.append(member)
        elif (what := _first((member.loaded, *member.parents), changes[member.called])) is not None:
            chosen.append(member)
            notes.append(f"{member.called}: {what} changed since {revision}")
    left = len(members) - len(chosen)
    if left:
        notes.append(f"{left} of {len(members)} images are left out: none of their inputs changed")
    return chosen, notes


def _root(loaded: Loaded) -> Path:
    root = revisions.repository(_real(loaded.path))
    if root is None:
        raise UsageError(f"{loaded.path} is not in a git repository", hint="leave --changed-since out")
    return root


def _first(recipes: Sequence[Loaded], changes: Changes) -> str | None:
    """Return the first input that changed, or that is unknown to the recipe's repository."""
    shipped = paths.shipped_root()
    for path in _inputs(recipes):
        # Both a link and its target are inputs.
        for one in dict.fromkeys((_real(path), path.resolve())):
            if revisions.repository(one) == changes.root:
                found = _below(one, changes)
                if found is not None:
                    return str(found)
            elif not one.is_relative_to(shipped):
                return f"{one} is not in the repository of the recipe, so it may have"
            # Otherwise it came with roost, which is installed next to the recipes and changes with its version.
    return None


def _code(changes: Changes) -> str | None:
    """Return why all images may differ: roost's own code in this repository changed; None if it did not."""
    if revisions.repository(closure.PACKAGE / "x") != changes.root or closure.PACKAGE not in {
        directory for path in changes.known for directory in path.parents
    }:
        return None
    parts = [*closure.files(MAKERS, ("roost.cli",)), closure.PACKAGE.parent / "pyproject.toml"]
    found = next((path for path in parts if path in changes.changed), None)
    # Removed files are not among the files of the current code.
    removed = (path for path in changes.changed if path.is_relative_to(closure.PACKAGE) and not path.exists())
    what = found or next(removed, None)
    return f"all images are considered: roost's own code changed ({what})" if what else None


def _real(path: Path) -> Path:
    """Return the absolute path of a file as git names it: links are resolved except in the last component."""
    return Path(os.path.realpath(path.parent), path.name)


def _below(path: Path, changes: Changes) -> Path | None:
    """Return what changed in a file or directory, or the path itself when it is unknown to git."""
    if path in changes.changed:
        return path
    if path in changes.known:
        return None
    if not path.is_dir():
        return path
    known = False
    for one in keys.walk(path):
        if one.is_dir() and not one.is_symlink():
            continue
        if one in changes.changed or one not in changes.known:
            return one
        known = True
    # Removed files are not found by walking.
    removed = next((one for one in changes.changed if one.is_relative_to(path)), None)
    return removed or (None if known else path)


def _inputs(recipes: Sequence[Loaded]) -> Iterator[Path]:
    for one in recipes:
        yield from one.files
        yield from (one.directory / name for name in localfiles.names(one.positions))
        try:
            spec = planning.kernel_spec(one)
        except RecipeError:
            continue
        yield Path(spec.path)
        yield from (Path(spec.path).parent / part.path for part in spec.parts.values() if part.path is not None)
