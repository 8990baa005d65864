"""What is to be built, worked out and checked before anything is: the root tree's source and the key of the image.

`problems` finds everything that is wrong and takes more than the recipe to see; `plan` reads local files and the
archive's signed index.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost import cache, inputs
from roost.condor import from_recipe
from roost.disk import check as disk_check
from roost.errors import Problem, RecipeError
from roost.events import Stages
from roost.host import paths
from roost.kernel import catalogue, initrd
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.rootfs import archive
from roost.rootfs.debian import Bootstrap
from roost.rootfs.source import Source


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built: the recipe, where its root tree comes from, the key of the whole image."""

    loaded: Loaded
    source: Source
    key: str


def checked(loaded: Loaded) -> catalogue.KernelSpec:
    """Return the recipe's kernel; raise `RecipeError` with everything that is wrong before anything is built."""
    found = problems(loaded)
    if found:
        raise RecipeError(found)
    return _kernel(loaded)


def problems(loaded: Loaded) -> list[Problem]:
    """Return everything that is wrong before anything is built and takes more than the recipe to see."""
    recipe = loaded.recipe
    found = [mistake.located(loaded.where) for mistake in disk_check.check(recipe)]
    for hypervisor in recipe.hypervisors:
        found += from_recipe.refusals(recipe, hypervisor, where=loaded.where)
    if recipe.os.debian is None:
        found.append(loaded.problem(("os",), "only the source debian can be built yet", "use os.debian"))
    try:
        _kernel(loaded)
    except RecipeError as error:
        found += error.problems
    return found


def _kernel(loaded: Loaded) -> catalogue.KernelSpec:
    return catalogue.load(loaded.recipe.kernel.use, paths.project_root(), loaded.where(("kernel", "use")))


def plan(loaded: Loaded, stages: Stages, log_dir: Path) -> Plan:
    """Return the plan of an image: reads local files and the archive's signed index, nothing more."""
    spec = checked(loaded)
    recipe = loaded.recipe
    source = recipe.os.debian
    assert source is not None
    index = archive.index(source, cache.default(), log_dir / "archive.log", stages.events)
    wanted = Bootstrap(
        source,
        spec,
        recipe.kernel.initrd,
        initrd.drivers(_mounted_early(recipe), xen="xen" in recipe.hypervisors),
        index,
        archive.epoch(index),
    )
    return Plan(loaded, wanted, inputs.image_key(recipe, loaded.folder, wanted.inputs()))


def _mounted_early(recipe: Recipe) -> tuple[str, ...]:
    """Return the file systems whose drivers the initrd holds: the root's, or all where the tree may have no modules."""
    areas = [area for disk in (recipe.root_disk, *recipe.disks) for area in disk.areas]
    root = next(area.filesystem for area in areas if area.mount == "/")
    if recipe.kernel.initrd == "distribution":
        return (root,)
    return tuple(dict.fromkeys([root, *(area.filesystem for area in areas if area.filesystem != "swap")]))
