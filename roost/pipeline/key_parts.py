"""All that the keys of a build are made of, stage by stage: recorded in the manifest, compared by the next build."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

from roost.customize import inputs
from roost.pipeline import image
from roost.pipeline.planning import BuildPlan
from roost.recipe.loader import Loaded


@runtime_checkable
class Parted(Protocol):
    """A root tree that tells what its key is made of."""

    def parts(self) -> dict[str, Any]:
        """Return `inputs`, `code` and `tools`."""


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
    return {"rootfs": tree, "image": image.STAGE.parts(made_of)}
