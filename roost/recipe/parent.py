"""The recipe whose image another recipe is made from."""

from __future__ import annotations

from roost.recipe import loader
from roost.recipe.loader import Loaded


def parent(loaded: Loaded) -> str | None:
    """Return the recipe that a recipe is based on, by a name or path that can be loaded, or None."""
    name = loaded.recipe.os.source.parent
    return meant(loaded, name) if name is not None else None


def meant(loaded: Loaded, name: str) -> str:
    """Return the name of another recipe as `load` takes it: a path is relative to the recipe that names it."""
    return loader.located(name, loaded.directory)
