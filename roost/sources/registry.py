"""The sources of root trees. A new one is a module that implements `roost.sources.source.Source`, and a line here.

A module is loaded when a recipe names its key, so that no command pays for the sources that it does not use.
"""

from __future__ import annotations

from importlib import import_module
from typing import cast

from roost.recipe import os
from roost.recipe.model import Recipe, add_source
from roost.sources.source import Source

#: The modules of the sources by their key of `os`.
SOURCES = {
    "debian": "roost.sources.debian",
    "tree": "roost.sources.tree",
    "tarball": "roost.sources.tarball",
    "image": "roost.sources.image",
}


def source(key: str) -> Source:
    """Return the source with a key."""
    return cast(Source, import_module(SOURCES[key]))


def of(recipe: Recipe) -> Source:
    """Return the source of a recipe's root tree."""
    return source(recipe.os.key)


for _key in SOURCES.keys() - os.SOURCES.keys():
    add_source(_key, source(_key).MODEL)
