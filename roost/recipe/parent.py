"""The recipe whose image another recipe is made from."""

from __future__ import annotations

from roost.recipe import loader
from roost.recipe.loader import Loaded


def parent(loaded: Loaded) -> str | None:
    """Return the recipe that one stands on, by a name or path that can be loaded; None for no such."""
    name = loaded.recipe.os.source.parent
    return meant(loaded, name) if name is not None else None


def meant(loaded: Loaded, name: str) -> str:
    """Return the recipe that another one names: a path starts from the directory of the one that names it."""
    return loader.located(name, loaded.directory)
