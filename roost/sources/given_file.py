"""The file of a source, local or fetched: the archive of a given tree, or an existing image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roost.errors import Problem
from roost.events import Stages
from roost.recipe.loader import Loaded
from roost.recipe.os import ExistingImage, Tarball
from roost.recipe.words import shown
from roost.store import cache, download, keys


def problems(loaded: Loaded, source: Tarball | ExistingImage) -> Iterator[Problem]:
    """Yield a problem for a local file that does not match its checksum."""
    if source.path is None or source.sha256 is None:
        return
    try:
        found = keys.large_digest(loaded.directory / source.path)
    except OSError:
        return  # the loader reports problems of the file
    if found != source.sha256:
        what = f"'{shown(source.path)}' has another sha256: {found}"
        yield loaded.problem(("os", loaded.recipe.os.key, "sha256"), what, "is it the right file, and complete?")


def fetch(loaded: Loaded, source: Tarball | ExistingImage, stages: Stages) -> Path:
    """Return the file; if the recipe names a URL, fetch it and verify the recipe's checksum."""
    if source.path is not None:
        return loaded.directory / source.path
    assert source.url is not None and source.sha256 is not None, "the model insists"
    where = loaded.where(("os", loaded.recipe.os.key, "url"))
    return download.fetch(source.url, source.sha256, cache.default(), stages.events, where=where)
