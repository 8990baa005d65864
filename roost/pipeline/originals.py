"""The original of an image that is edited: where the recipe says it is, and what is wrong with that.

Another recipe's image is built first when it is stale; what it is made of is then part of what is made from it.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from roost.errors import ImageError, Problem, RecipeError
from roost.events import Stages
from roost.existing import image, image_file
from roost.existing.image import Image
from roost.existing.image_file import Original
from roost.host import paths
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.os import ExistingImage
from roost.recipe.words import shown
from roost.store import cache, download, manifest

_WHERE = ("os", "image")


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield what is wrong with a recipe's original and can be seen without building or fetching anything."""
    source = loaded.recipe.os.image
    if source is None:
        return
    if loaded.recipe.edited and loaded.recipe.kernel.use is not None:
        what = "an existing image starts its own kernel: none is added to it"
        yield loaded.problem(("kernel", "use"), what, "leave `use` out, or give the root disk partitions")
    if loaded.recipe.edited and loaded.recipe.kernel.initrd is not None:
        what = "an existing image has its own initrd: none is made for it"
        yield loaded.problem(("kernel", "initrd"), what, "leave `initrd` out, or give the root disk partitions")
    if source.path is not None:
        path = loaded.folder / source.path
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
    """Yield what keeps an image that is edited from starting on the machine that HTCondor gives it."""
    recipe = loaded.recipe
    if not recipe.edited or "kvm" not in recipe.hypervisors or recipe.kernel.placement == "external":
        return
    if image_file.starts_on_uefi_only(original, paths.cache_root() / "log" / "originals.log"):
        what = (
            f"{shown(original.path.name)} starts on UEFI only: it has an EFI system partition and no BIOS boot loader"
        )
        hint = (
            "HTCondor's kvm machine has a BIOS: use an image for BIOS, install GRUB for it (grub-install"
            " --target=i386-pc), or give the root disk partitions to have the tree laid out anew"
        )
        yield loaded.problem(key, what, hint)


def _parents(loaded: Loaded, name: str) -> Iterator[Problem]:
    """Yield what is wrong with the recipes that this one stands on."""
    seen = [loaded.recipe.name]
    following: str | None = name
    standing = loaded
    while following is not None:
        try:
            found = loader.load(_meant(standing, following), paths.project_root())
        except RecipeError as error:
            first = error.problems[0]
            yield loaded.problem((*_WHERE, "recipe"), f"the recipe {following}: {first}")
            return
        parent, standing = found.recipe, found
        if parent.name in seen:
            circle = " → ".join([*seen, parent.name])
            yield loaded.problem((*_WHERE, "recipe"), f"recipes stand on each other in a circle: {circle}")
            return
        seen.append(parent.name)
        following = parent.os.image.recipe if parent.os.image is not None else None


def _meant(loaded: Loaded, name: str) -> str:
    """Return the recipe that another one names: a path starts from the folder of the one that names it."""
    is_path = "/" in name or name.endswith(loader.SUFFIXES)
    return str(loader.absolute(loaded.folder / name)) if is_path else name


def locate(loaded: Loaded, stages: Stages) -> Image:
    """Return the original of an image, fetched or built if need be, and looked at."""
    source = loaded.recipe.os.image
    assert source is not None
    if source.recipe is not None:
        return _built(loaded, source.recipe, stages)
    key = "path" if source.path is not None else "url"
    try:
        found = image.of_file(_file(loaded, source, stages), source.format)
    except ImageError as error:
        raise loaded.error((*_WHERE, key), error.problem.what, error.problem.hint) from error
    if source.sha256 is not None and source.sha256 != found.sha256:
        what = f"the sha256 of {found.original.path.name} is {found.sha256}"
        raise loaded.error((*_WHERE, "sha256"), what, "is it the right file?")
    if key == "url":
        # What has a path was looked at with the recipe.
        wrong = list(_unbootable(loaded, found.original, (*_WHERE, key)))
        if wrong:
            raise RecipeError(wrong)
    count = image_file.snapshots(found.original)
    if count:
        stages.note(f"{found.original.path.name} holds {count} snapshots: its present state is taken, without them")
    return found


def _file(loaded: Loaded, source: ExistingImage, stages: Stages) -> Path:
    if source.path is not None:
        return loaded.folder / source.path
    assert source.url is not None and source.sha256 is not None
    where = loaded.where((*_WHERE, "url"))
    return download.fetch(source.url, source.sha256, cache.default(), stages.events, where=where)


def _built(loaded: Loaded, name: str, stages: Stages) -> Image:
    from roost.pipeline import build

    name = _meant(loaded, name)
    parent = loader.load(name, paths.project_root()).recipe
    with stages.stage("parent", parent.name):
        built = build.build(name, events=stages.events)
    record = manifest.read(built.folder)
    if record is None:
        raise ImageError(f"the build of {parent.name} is gone", hint=f"inv build {name}")
    return image.of_build(built.folder, parent.root_disk.name, record)
