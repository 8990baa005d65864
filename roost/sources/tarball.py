"""Source `tarball`: a tar archive of a root tree, or a container image."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from roost.customize.overlay import Item
from roost.errors import Problem
from roost.recipe.loader import Loaded
from roost.recipe.os import Tarball
from roost.recipe.quantities import format_size
from roost.recipe.words import shown
from roost.sources import addition, bounds, given_file, given_tree
from roost.sources.source import Request, RootTree
from roost.store import cache, keys

MODEL = Tarball


def _source(loaded: Loaded) -> Tarball:
    source = loaded.recipe.os.tarball
    assert source is not None
    return source


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for a local file that is larger than a source may be, or does not match its checksum."""
    source = _source(loaded)
    if source.path is not None:
        # Hashing a sparse file of 8 TiB would take hours.
        with contextlib.suppress(OSError, ValueError):
            size = (loaded.directory / source.path).stat().st_size
            if size > bounds.limit(size):
                error = bounds.Bounds(shown(source.path), size).too_large(f"it has {format_size(size)}")
                yield loaded.problem(("os", "tarball", "path"), error.problem.what, error.problem.hint)
                return
    yield from given_file.problems(loaded, source)


def items(_loaded: Loaded) -> Iterable[Item]:
    """Return nothing: the whole tree is in the archive."""
    return ()


def plan(request: Request) -> RootTree:
    """Return the tree in the archive with its additions to become bootable.

    Raises `RecipeError` if the archive does not match the recipe's checksum.
    """
    loaded, source = request.loaded, _source(request.loaded)
    path = given_file.fetch(loaded, source, request.stages)
    digest = source.sha256 if source.path is None and source.sha256 is not None else keys.large_digest(path)
    if source.sha256 not in (None, digest):
        what = f"the sha256 of {path.name} is {digest}"
        raise loaded.error(("os", "tarball", "sha256"), what, "is it the right file, and the right sum?")
    given = given_tree.of_archive(path, digest, cache.default(), request.stages, request.log_dir / "source.log")
    return addition.plan(request, {"source": "tarball", "sha256": digest}, given)
