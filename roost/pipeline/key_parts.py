"""All that the keys of a build are made of, stage by stage: recorded in the manifest, compared by the next build."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from roost.customize import inputs
from roost.pipeline import image
from roost.pipeline.planning import BuildPlan
from roost.recipe.loader import Loaded

#: The stage of the layer that a root tree is made on.
LAYER = "essential"


@runtime_checkable
class Parted(Protocol):
    """A root tree that tells what its key is made of."""

    def parts(self) -> dict[str, Any]:
        """Return `inputs`, `code` and `tools`."""


@runtime_checkable
class Layered(Protocol):
    """A root tree that is made on top of a layer which other recipes share."""

    def layer(self) -> tuple[str, dict[str, Any]] | None:
        """Return its key, and what this is made of; None where the tree has none."""


def layer(source: object) -> tuple[str, dict[str, Any]] | None:
    """Return the key of the layer that a root tree is made on, and what this is made of; None where it has none."""
    return source.layer() if isinstance(source, Layered) else None


def of(loaded: Loaded, plan: BuildPlan) -> dict[str, Any]:
    """Return stage → the parts of its key. Secrets are in none: whether they changed is seen in the recipe's key."""
    source = plan.source
    made_of: dict[str, Any] = {
        "recipe": loaded.recipe.model_dump(mode="json", by_alias=True, exclude={"boot_test"}),
        "files": inputs.local_files(loaded.recipe, loaded.directory),
        "kernel": dict(plan.kernel.sums) if plan.kernel is not None else {},
    }
    if plan.bootstrap is not None:
        made_of["selection"] = [one.parts() for one in plan.bootstrap.selection.tools]
    tree = source.parts() if isinstance(source, Parted) else {"inputs": source.inputs()}
    below = layer(source)
    first = {LAYER: below[1]} if below is not None else {}
    return {**first, "rootfs": tree, "image": image.STAGE.parts(made_of)}
