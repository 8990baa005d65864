"""How the initrd of a kernel is made that a tree gets, and which modules it holds, as the recipe has it."""

from __future__ import annotations

from roost.kernel import initrd
from roost.recipe.model import Recipe


def kind(recipe: Recipe) -> str:
    """Return how the initrd of a kernel is made that is added to the tree."""
    return recipe.kernel.initrd or ("distribution" if recipe.os.source.installs else "busybox")


def drivers(recipe: Recipe, kind: str) -> tuple[str, ...]:
    """Return the modules that the initrd of busybox holds."""
    return initrd.drivers(_mounted_early(recipe, kind), xen="xen" in recipe.hypervisors)


def _mounted_early(recipe: Recipe, kind: str) -> tuple[str, ...]:
    """Return the file systems whose drivers the initrd holds: the root's, or all where the tree may have no modules."""
    areas = [area for disk in (recipe.root_disk, *recipe.disks) for area in disk.areas]
    root = next(area.filesystem for area in areas if area.mount == "/")
    if kind == "distribution":
        return (root,)
    return tuple(dict.fromkeys([root, *(area.filesystem for area in areas if area.filesystem != "swap")]))
