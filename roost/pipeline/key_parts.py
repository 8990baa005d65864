"""The parts of a build's keys, stage by stage: recorded in the manifest, compared by the next build."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from roost.customize import inputs
from roost.pipeline import image
from roost.pipeline.planning import BuildPlan
from roost.recipe.loader import Loaded

#: The stage of the layer below a root tree.
LAYER = "essential"


@runtime_checkable
class Parted(Protocol):
    """A root tree that exposes the parts of its key."""

    def parts(self) -> dict[str, Any]:
        """Return `inputs`, `code` and `tools`."""


@runtime_checkable
class Layered(Protocol):
    """A root tree made on top of a layer that other recipes share."""

    def layer(self) -> tuple[str, dict[str, Any]] | None:
        """Return its key and parts; None if the tree has no layer."""


def layer(source: object) -> tuple[str, dict[str, Any]] | None:
    """Return the key and parts of the layer below a root tree; None if it has none."""
    return source.layer() if isinstance(source, Layered) else None


def of(loaded: Loaded, plan: BuildPlan) -> dict[str, Any]:
    """Return stage → the parts of its key. Secrets are not included: the recipe's key shows whether they changed."""
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
