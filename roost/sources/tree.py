"""Source `tree`: a directory that becomes the root tree."""

from __future__ import annotations

from collections.abc import Iterable

from roost.customize.overlay import Item
from roost.errors import Problem
from roost.recipe.loader import Loaded
from roost.recipe.os import Tree
from roost.sources import addition, given_tree
from roost.sources.source import Request, RootTree
from roost.store import cache

MODEL = Tree


def problems(_loaded: Loaded) -> Iterable[Problem]:
    """Return nothing: the directory is checked when it is read."""
    return ()


def items(_loaded: Loaded) -> Iterable[Item]:
    """Return nothing: the whole tree is in the directory."""
    return ()


def plan(request: Request) -> RootTree:
    """Return the tree with its additions to become bootable."""
    source = request.loaded.recipe.os.tree
    assert source is not None
    directory, log = request.loaded.directory / source.path, request.log_dir / "source.log"
    return addition.plan(
        request, {"source": "tree"}, given_tree.of_directory(directory, cache.default(), request.stages, log)
    )
