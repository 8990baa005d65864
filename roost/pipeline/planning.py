"""The build plan, computed and checked before anything is built: the root tree's source and the key of the image.

`problems` finds all mistakes that cannot be seen in the recipe alone; `plan` reads local files and the archive's signed
index.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from roost.condor import from_recipe
from roost.disk import check as disk_check
from roost.errors import Problem, RecipeError
from roost.host import paths
from roost.kernel import catalogue, claims
from roost.pipeline import image as image_stage
from roost.pipeline.context import Context
from roost.preflight import local
from roost.recipe.loader import Loaded
from roost.sources import registry
from roost.sources.bootstrap import Bootstrap
from roost.sources.source import Request, RootTree
from roost.store import cache

if TYPE_CHECKING:
    from roost.existing.image import OriginalImage
    from roost.kernel.files import Parts


@dataclass(frozen=True, slots=True)
class BuildPlan:
    """The plan: the source of the root tree or the image to edit, and the image's keys.

    `spec` is the catalogue's kernel, None for the tree's own; `kernel` are its files if it is not a package.
    """

    source: RootTree | OriginalImage
    keys: image_stage.Keys
    spec: catalogue.KernelSpec | None = None
    kernel: Parts | None = None
    #: Exactly one of the two is the source: a tree to lay out, or an image to edit.
    tree: RootTree | None = None
    original: OriginalImage | None = None

    @property
    def key(self) -> str:
        """The key of the image with its submit descriptions."""
        return self.keys.image

    @property
    def epoch(self) -> int:
        """The latest time of any file in the image, in seconds since 1970."""
        return self.source.epoch

    @property
    def bootstrap(self) -> Bootstrap | None:
        """What is installed or added from an archive, None if nothing is."""
        return self.tree.bootstrap if self.tree is not None else None

    @property
    def suite(self) -> str | None:
        """The suite of the kernel's package, None when it is not a package."""
        return self.tree.suite if self.tree is not None else None


def problems(loaded: Loaded) -> list[Problem]:
    """Return all mistakes that can be found before a build, but not in the recipe alone."""
    recipe = loaded.recipe
    found = [mistake.located(loaded.where) for mistake in disk_check.check(recipe)]
    for hypervisor in recipe.hypervisors:
        found += from_recipe.refusals(recipe, hypervisor, where=loaded.where)
    found += from_recipe.directory_refusals(recipe, loaded.build, loaded.where)
    # Whether a tree has an initrd for its own kernel is known only once the tree is.
    added = not recipe.os.source.installs and recipe.kernel.use is not None and not recipe.edited
    if added and recipe.kernel.initrd == "distribution":
        what = (
            "a kernel that is added has no initrd of a distribution: initramfs-tools runs only in trees of the archive"
        )
        found.append(loaded.problem(("kernel", "initrd"), what, "leave initrd out"))
    found += local.problems(loaded)
    try:
        spec = kernel_spec(loaded)
        # A tree may have its own kernel, which is judged when it is read.
        if recipe.os.source.installs or recipe.kernel.use is not None:
            wrong = claims.problems(recipe, spec, (), loaded.where)
            # The rest of the catalogue is read only for hints.
            found += claims.problems(recipe, spec, others(), loaded.where) if wrong else []
    except RecipeError as error:
        found += error.problems
    return found


def given_kernel(loaded: Loaded) -> list[Problem]:
    """Return problems with the files of a kernel that is not a package, as far as they are on this machine.

    A build finds these when it uses the files; this is for callers that do not build.
    """
    from roost.kernel import given

    recipe = loaded.recipe
    try:
        spec = kernel_spec(loaded)
    except RecipeError:
        # `problems` has reported it.
        return []
    wanted = recipe.os.source.installs or recipe.kernel.use is not None
    return given.problems(recipe, spec) if wanted and not recipe.edited else []


def given_source(loaded: Loaded) -> list[Problem]:
    """Return problems with a given archive or image, as far as a look can tell; as `given_kernel`."""
    from roost.sources import given_file

    return list(given_file.incomplete(loaded))


def kernel_spec(loaded: Loaded) -> catalogue.KernelSpec:
    """Return the catalogue's kernel that the recipe names, or the default of its source."""
    name = loaded.recipe.kernel.use or loaded.recipe.os.source.default_kernel
    return catalogue.load(name, paths.project_root(), loaded.where(("kernel", "use")))


def others() -> tuple[catalogue.KernelSpec, ...]:
    """Return the readable entries of the whole catalogue, for hints."""
    return tuple(catalogue.load_all(paths.project_root())[0])


def plan(context: Context) -> BuildPlan:
    """Return the plan of an image: reads local files and the archive's signed index, fetches files with a URL.

    The recipe was loaded with `problems`, and has none. A new tree or archive is read completely, to determine its
    facts.
    """
    loaded, spec = context.loaded, kernel_spec(context.loaded)
    request = Request(
        loaded, spec, context.stages, context.log_dir, context.accelerator, context.parent, context.locked
    )
    if context.recipe.edited:
        from roost.sources import image

        original = image.locate(request)
        return BuildPlan(original, image_stage.keys(loaded, original.key), original=original)
    tree = registry.of(context.recipe).plan(request)
    bootstrap = tree.bootstrap
    loader = [one.parts() for one in bootstrap.selection.tools] if bootstrap is not None else []
    if tree.own_kernel:
        return BuildPlan(tree, image_stage.keys(loaded, tree.key, None, loader), tree=tree)
    kernel = None
    if spec.files is not None:
        from roost.kernel import files

        kernel = files.fetch(spec, cache.default(), context.stages.events)
    keys = image_stage.keys(loaded, tree.key, kernel.sums if kernel is not None else None, loader)
    return BuildPlan(tree, keys, spec, kernel, tree=tree)
