"""Source `image`: an existing image, from a file, a URL or another recipe, either edited or laid out again.

Another recipe's image is built first; its inputs are then part of the inputs of this image.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from roost.customize.overlay import Item
from roost.errors import ImageError, Problem, RecipeError
from roost.existing import image, image_file
from roost.existing.image import OriginalImage
from roost.existing.image_file import Original
from roost.host import paths
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.os import ExistingImage
from roost.recipe.parent import meant
from roost.recipe.words import shown
from roost.sources import addition, given_file, given_tree, image_tree
from roost.sources.source import Request, RootTree
from roost.store import cache, keys

MODEL = ExistingImage
_WHERE = ("os", "image")


def _source(loaded: Loaded) -> ExistingImage:
    source = loaded.recipe.os.image
    assert source is not None
    return source


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield problems of a recipe's original image that can be found without building or fetching anything."""
    source = _source(loaded)
    yield from given_file.problems(loaded, source)
    if loaded.recipe.edited and loaded.recipe.kernel.use is not None:
        what = "an existing image starts its own kernel: none is added to it"
        yield loaded.problem(("kernel", "use"), what, "leave `use` out, or give the root disk partitions")
    if loaded.recipe.edited and loaded.recipe.kernel.initrd is not None:
        what = "an existing image has its own initrd: none is made for it"
        yield loaded.problem(("kernel", "initrd"), what, "leave `initrd` out, or give the root disk partitions")
    if source.path is not None:
        path = loaded.directory / source.path
        try:
            if path.is_file():
                found = image_file.look(path, source.format)
                yield from _smaller(loaded, found.size)
                yield from _unbootable(loaded, found, (*_WHERE, "path"))
        except ImageError as error:
            yield loaded.problem((*_WHERE, "path"), error.problem.what, error.problem.hint)
    if source.recipe is not None:
        yield from _parents(loaded, source.recipe)


def _smaller(loaded: Loaded, size: int) -> Iterator[Problem]:
    for number, disk in enumerate(loaded.recipe.disks):
        if disk.existing and disk.size is not None and disk.size < size:
            what = f"the image's disk has {size} bytes: it cannot be made smaller"
            yield loaded.problem(("disks", number, "size"), what, "leave size out")


def _unbootable(loaded: Loaded, original: Original, key: tuple[str, ...]) -> Iterator[Problem]:
    """Yield what keeps an edited image from starting on the machine that HTCondor gives it."""
    recipe = loaded.recipe
    if not recipe.edited or "kvm" not in recipe.hypervisors or recipe.kernel.placement == "external":
        return
    found = image_file.firmware(original, paths.cache_root() / "log" / "originals.log")
    if found is None:
        return
    name = shown(original.path.name)
    what = {
        "uefi": f"{name} starts on UEFI only: it has an EFI system partition and no BIOS boot loader",
        "none": f"{name} starts on no machine with a BIOS: its first sector is not a boot sector",
    }[found]
    hint = {
        "uefi": "use an image for BIOS, install GRUB for it (grub-install --target=i386-pc)",
        "none": "use the disk that the system starts from, or `kernel: {placement: external}`",
    }[found]
    laid = "or give the root disk partitions to have the tree laid out again"
    yield loaded.problem(key, what, f"HTCondor's kvm machine has a BIOS: {hint}, {laid}")


def _parents(loaded: Loaded, name: str) -> Iterator[Problem]:
    """Yield problems of the recipes that this one is based on."""
    seen = [loaded.recipe.name]
    following: str | None = name
    standing = loaded
    while following is not None:
        try:
            found = loader.load(meant(standing, following), paths.project_root())
        except RecipeError as error:
            first = error.problems[0]
            yield loaded.problem((*_WHERE, "recipe"), f"the recipe {following}: {first}")
            return
        parent, standing = found.recipe, found
        if parent.name in seen:
            circle = " → ".join([*seen, parent.name])
            yield loaded.problem((*_WHERE, "recipe"), f"recipes depend on each other in a circle: {circle}")
            return
        seen.append(parent.name)
        following = parent.os.image.recipe if parent.os.image is not None else None


def items(_loaded: Loaded) -> Iterable[Item]:
    """Return nothing: the whole tree is in the image."""
    return ()


def plan(request: Request) -> RootTree:
    """Return the tree in the image with its additions to become bootable."""
    original = locate(request)
    with request.stages.stage("take the tree", original.original.path.name):
        tar = image_tree.take(original, cache.default(), request.accelerator.kind, request.log_dir)
    log = request.log_dir / "source.log"
    given = given_tree.of_archive(tar, keys.large_digest(tar), cache.default(), request.stages, log)
    return addition.plan(request, original.inputs(), given)


def locate(request: Request) -> OriginalImage:
    """Return the original of an image, fetched if necessary, and inspected; another recipe's is already built."""
    loaded, stages = request.loaded, request.stages
    source = _source(loaded)
    if source.recipe is not None:
        assert request.parent is not None, "the build of an image builds its parent first"
        return request.parent
    key = "path" if source.path is not None else "url"
    try:
        found = image.of_file(given_file.fetch(loaded, source, stages), source.format)
    except ImageError as error:
        raise loaded.error((*_WHERE, key), error.problem.what, error.problem.hint) from error
    if source.sha256 is not None and source.sha256 != found.sha256:
        what = f"the sha256 of {found.original.path.name} is {found.sha256}"
        raise loaded.error((*_WHERE, "sha256"), what, "is it the right file?")
    if key == "url":
        # An image with a path was inspected with the recipe.
        wrong = list(_unbootable(loaded, found.original, (*_WHERE, key)))
        if wrong:
            raise RecipeError(wrong)
    count = image_file.snapshots(found.original)
    if count:
        stages.note(f"{found.original.path.name} holds {count} snapshots, which are ignored: its current state is used")
    return found
