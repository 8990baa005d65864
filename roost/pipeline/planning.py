"""What is to be built, worked out and checked before anything is: the root tree's source and the key of the image.

`problems` finds everything that is wrong and takes more than the recipe to see; `plan` reads local files and the
archive's signed index.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.boot import probe
from roost.condor import from_recipe
from roost.disk import check as disk_check
from roost.errors import Problem, RecipeError
from roost.events import Stages
from roost.existing.image import Image
from roost.host import paths
from roost.kernel import catalogue, files, initrd
from roost.kernel import check as kernel_check
from roost.pipeline import image as image_stage
from roost.pipeline import originals
from roost.preflight import local
from roost.recipe.debian import Debian
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.recipe.os import Tarball
from roost.sources import archive, bootable, given_tree, image_tree, repositories
from roost.sources.bootable import BootableTree
from roost.sources.bootstrap import Bootstrap
from roost.sources.given_tree import GivenTree
from roost.sources.mmdebstrap import Installed
from roost.sources.repositories import Extra
from roost.sources.source import Source
from roost.store import cache, download, keys


@dataclass(frozen=True, slots=True)
class Plan:
    """What is to be built: the recipe, where its root tree comes from or which image is edited, the image's key.

    `spec` is the catalogue's kernel, None for the tree's own; `kernel` are its files if it is no package.
    """

    loaded: Loaded
    source: Source | Image
    key: str
    spec: catalogue.KernelSpec | None = None
    kernel: files.Parts | None = None

    @property
    def suite(self) -> str | None:
        """The suite that the kernel's package is of, None when it is no package."""
        wanted = self.source.wanted if isinstance(self.source, Installed) else getattr(self.source, "archive", None)
        return wanted.debian.suite if isinstance(wanted, Bootstrap) and wanted.kernel is not None else None


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
    found += from_recipe.folder_refusals(recipe, loaded.build, loaded.where)
    found += originals.problems(loaded)
    # Whether a tree brings an initrd for its own kernel is seen when the tree is.
    added = recipe.os.debian is None and recipe.kernel.use is not None and not recipe.edited
    if added and recipe.kernel.initrd == "distribution":
        what = "initramfs-tools runs in trees of the archive only, and a kernel that is added has no other initrd"
        found.append(loaded.problem(("kernel", "initrd"), what, "leave initrd out"))
    found += local.problems(loaded)
    try:
        spec = _kernel(loaded)
        # A tree may bring its own kernel, which is judged when it is seen.
        if recipe.os.debian is not None or recipe.kernel.use is not None:
            found += kernel_check.claims(recipe, spec, others(), loaded.where)
    except RecipeError as error:
        found += error.problems
    return found


def _kernel(loaded: Loaded) -> catalogue.KernelSpec:
    """Return the kernel of the catalogue that the recipe names, or that its source gets when it has none."""
    name = loaded.recipe.kernel.use or ("debian" if loaded.recipe.os.debian is not None else "debian-cloud")
    return catalogue.load(name, paths.project_root(), loaded.where(("kernel", "use")))


def others() -> tuple[catalogue.KernelSpec, ...]:
    """Return the whole catalogue, as far as it can be read: for hints."""
    return tuple(catalogue.load_all(paths.project_root())[0])


def plan(loaded: Loaded, stages: Stages, log_dir: Path) -> Plan:
    """Return the plan of an image: reads local files and the archive's signed index, fetches what has a URL.

    A tree or archive that was not seen before is read whole, to know what it is.
    """
    spec = checked(loaded)
    recipe = loaded.recipe
    if recipe.edited:
        original = originals.locate(loaded, stages)
        return Plan(loaded, original, image_stage.key(loaded, original.key))
    source = (
        _debian(loaded, spec, stages, log_dir)
        if recipe.os.debian is not None
        else _given(loaded, spec, stages, log_dir)
    )
    if isinstance(source, BootableTree) and recipe.kernel.use is None and source.base.facts.kernels:
        return Plan(loaded, source, image_stage.key(loaded, source.key))
    kernel = files.fetch(spec, cache.default(), stages.events) if spec.files is not None else None
    key = image_stage.key(loaded, source.key, kernel.sums if kernel is not None else None)
    return Plan(loaded, source, key, spec, kernel)


def initrd_kind(recipe: Recipe) -> str:
    """Return how the initrd of a kernel is made that is added to the tree."""
    return recipe.kernel.initrd or ("distribution" if recipe.os.debian is not None else "busybox")


def drivers(recipe: Recipe, kind: str) -> tuple[str, ...]:
    """Return the modules that the initrd of busybox holds."""
    return initrd.drivers(_mounted_early(recipe, kind), xen="xen" in recipe.hypervisors)


def _debian(loaded: Loaded, spec: catalogue.KernelSpec, stages: Stages, log_dir: Path) -> Source:
    recipe = loaded.recipe
    assert recipe.os.debian is not None
    extra = repositories.read(recipe.os.debian, loaded.folder)
    return Installed(_bootstrap(recipe, recipe.os.debian, spec, initrd_kind(recipe), stages, log_dir, extra))


def _bootstrap(
    recipe: Recipe,
    wanted: Debian,
    spec: catalogue.KernelSpec | None,
    kind: str,
    stages: Stages,
    log_dir: Path,
    extra: Sequence[Extra] = (),
) -> Bootstrap:
    further = [one.source for one in extra]
    index = archive.index(wanted, cache.default(), log_dir / "archive.log", stages.events, further)
    # A kernel that is no package is put into the tree of each image.
    package = spec.package(wanted.architecture) if spec is not None else None
    return Bootstrap(wanted, package, kind, drivers(recipe, kind), index, archive.epoch(index), tuple(extra))


def _given(loaded: Loaded, spec: catalogue.KernelSpec, stages: Stages, log_dir: Path) -> Source:
    """Return the tree or archive that the recipe names, and what it gets to become bootable."""
    recipe = loaded.recipe
    origin, base = _base(loaded, stages, log_dir / "source.log")
    refused = bootable.refusal(base)
    if refused is not None:
        raise refused
    own_files = [entry.path for entry in recipe.files]
    for note in bootable.notes(base, network=recipe.machine.network != "none", kept=own_files):
        stages.note(note)
    if base.facts.dropped:
        stages.note(f"left out {base.facts.dropped} device nodes of the source: /dev is made by the guest's kernel")
    own = recipe.kernel.use is None and bool(base.facts.kernels)
    if not own and recipe.kernel.use is None:
        stages.note(f"the source brings no kernel: it gets {spec.name} ({spec.description})")
    added = not own and spec.files is not None
    initrd_made = (not own and not added) or (own and (recipe.kernel.initrd == "busybox" or not base.facts.initrds))
    if initrd_made and recipe.kernel.initrd == "distribution":
        raise loaded.error(("kernel", "initrd"), "the source brings no initrd of its own", "leave initrd out")
    wanted = None
    if initrd_made or base.facts.init == "none":
        system = base.facts.os
        codename = system.get("VERSION_CODENAME", "") if system.get("ID") == "debian" else ""
        suite = recipe.kernel.suite or codename or bootable.SUITE
        packages = Debian(suite=suite, variant="unpacked", packages=(bootable.BUSYBOX_PACKAGE,))
        wanted = _bootstrap(recipe, packages, None if own else spec, "busybox", stages, log_dir)
    return BootableTree(origin, base, wanted, initrd_made, drivers(recipe, "busybox"))


def _base(loaded: Loaded, stages: Stages, log: Path) -> tuple[dict[str, Any], GivenTree]:
    """Return where a given tree comes from, for the manifest, and the tree."""
    source = loaded.recipe.os
    if source.tree is not None:
        return {"source": "tree"}, given_tree.of_folder(loaded.folder / source.tree.path, cache.default(), stages, log)
    if source.image is not None:
        original = originals.locate(loaded, stages)
        with stages.stage("take the tree", original.original.path.name):
            tar = image_tree.take(original, cache.default(), "kvm" if probe.probe().usable else "tcg", log.parent)
        return original.inputs(), given_tree.of_archive(tar, keys.large_digest(tar), cache.default(), stages, log)
    assert source.tarball is not None
    path, digest = fetched(loaded, "tarball", source.tarball, stages)
    return {"source": "tarball", "sha256": digest}, given_tree.of_archive(path, digest, cache.default(), stages, log)


def fetched(loaded: Loaded, key: str, source: Tarball, stages: Stages) -> tuple[Path, str]:
    """Return the file of a source and its sha256, fetched if it is named by a URL; `key` is the source's below os.

    Raises `RecipeError` where the sum is another than the recipe's.
    """
    if source.url is not None:
        assert source.sha256 is not None, "the model insists"
        where = loaded.where(("os", key, "url"))
        return download.fetch(source.url, source.sha256, cache.default(), stages.events, where=where), source.sha256
    assert source.path is not None, "the model insists"
    path = loaded.folder / source.path
    digest = keys.large_digest(path)
    if source.sha256 not in (None, digest):
        what = f"the sha256 of {path.name} is {digest}"
        raise loaded.error(("os", key, "sha256"), what, "is it the right file, and the right sum?")
    return path, digest


def _mounted_early(recipe: Recipe, kind: str) -> tuple[str, ...]:
    """Return the file systems whose drivers the initrd holds: the root's, or all where the tree may have no modules."""
    areas = [area for disk in (recipe.root_disk, *recipe.disks) for area in disk.areas]
    root = next(area.filesystem for area in areas if area.mount == "/")
    if kind == "distribution":
        return (root,)
    return tuple(dict.fromkeys([root, *(area.filesystem for area in areas if area.filesystem != "swap")]))
