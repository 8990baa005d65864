"""The first layer of a tree with dpkg: the essential packages, configured, shared by all recipes of a suite.

A tree is always made on top of this layer, whether it was cached or not, so that no byte depends on that. It is neither
cleaned nor canonical: that is done when a tree is made from it.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.events import Stages
from roost.sources import debs, installation
from roost.sources.bootstrap import Bootstrap
from roost.store.cache import Cache
from roost.store.stage import Stage

TAR = "layer.tar"
#: Next to the tar: when the newest of its packages was built, in seconds since 1970.
EPOCH = "epoch"
STAGE = Stage("essential", (__name__,), installation.TOOLS)


def inputs(wanted: Bootstrap) -> dict[str, Any]:
    """Return everything the layer depends on, as JSON: not the recipe's other packages, nor the package sources."""
    return {
        "suite": wanted.debian.suite,
        "architecture": wanted.debian.architecture,
        "exclude": wanted.debian.exclude,
        "selection": [one.parts() for one in wanted.selection.essential],
    }


def layer(wanted: Bootstrap, cache: Cache, stages: Stages, log: Path) -> Path:
    """Return the directory of the layer, from the cache or freshly installed; raises what `installation.run` does."""
    found = cache.get(STAGE.name, STAGE.key(inputs(wanted)))
    if found is not None:
        return found
    from roost.sources import uncompressed

    chosen = wanted.selection.essential
    first = replace(wanted, selection=replace(wanted.selection, packages=chosen))

    def make(directory: Path) -> None:
        with uncompressed.held(first, cache, log) as packages:
            epoch = debs.epoch(packages)
            step = installation.Step(
                "base", ("--variant=essential", "--skip=cleanup"), {"SOURCE_DATE_EPOCH": str(epoch)}, ordered=True
            )
            installation.run(first, step, packages, directory / TAR, log)
        (directory / EPOCH).write_text(str(epoch))

    # Waiting for another build to make it counts as the same stage.
    with stages.stage("essential", f"{wanted.debian.suite}, {len(chosen)} packages"):
        return STAGE.stored(cache, inputs(wanted), make)
