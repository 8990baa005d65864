"""The file of a source, local or fetched: the archive of a given tree, or an existing image."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roost.errors import ImageError, Problem
from roost.events import Stages
from roost.existing import complete, image_file
from roost.recipe.loader import Loaded
from roost.recipe.os import ExistingImage, Tarball
from roost.recipe.words import shown
from roost.sources import archive_look
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


def incomplete(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for a local archive or qcow2 image that is cut off or something else, as far as a look can tell.

    A build reads all of it; this is for callers that do not build.
    """
    os = loaded.recipe.os
    source = os.tarball or os.image
    if source is None or source.path is None:
        return
    path = loaded.directory / source.path
    try:
        if isinstance(source, Tarball):
            wrong = archive_look.refused(path)
        else:
            wrong = complete.problem(path) if image_file.look(path, source.format).format == "qcow2" else None
    except (OSError, ValueError, ImageError):
        return  # reported by the loader, and by `problems` of the source
    if wrong is not None:
        yield loaded.problem(("os", os.key, "path"), wrong.problem.what, wrong.problem.hint)


def fetch(loaded: Loaded, source: Tarball | ExistingImage, stages: Stages) -> Path:
    """Return the file; if the recipe names a URL, fetch it and verify the recipe's checksum."""
    if source.path is not None:
        return loaded.directory / source.path
    assert source.url is not None and source.sha256 is not None, "the model insists"
    where = loaded.where(("os", loaded.recipe.os.key, "url"))
    return download.fetch(source.url, source.sha256, cache.default(), stages.events, where=where)
