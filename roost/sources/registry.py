"""The sources of root trees. A new one is a module with what `roost.sources.source.Source` says, and a line here."""

from __future__ import annotations

from roost.recipe.model import Recipe, add_source
from roost.sources import debian, image, tarball, tree
from roost.sources.source import Source

#: The sources by their key of `os`.
SOURCES: dict[str, Source] = {"debian": debian, "tree": tree, "tarball": tarball, "image": image}

for _key, _source in SOURCES.items():
    add_source(_key, _source.MODEL)


def of(recipe: Recipe) -> Source:
    """Return the source of a recipe's root tree."""
    return SOURCES[recipe.os.key]
