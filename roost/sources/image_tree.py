"""The root tree of an existing image, for an image with its own layout."""

from __future__ import annotations

from pathlib import Path

from roost.existing import image_file, inspection
from roost.existing.image import EPOCH, OriginalImage
from roost.host import guestfs
from roost.host.accelerator import Kind
from roost.host.guestfs import Guest
from roost.recipe.quantities import format_size
from roost.recipe.words import shown
from roost.sources import bounds
from roost.store.cache import Cache
from roost.store.stage import Stage

#: The deadline for reading; nothing is written.
DEADLINE = 1800.0
TAR = "image.tar"
#: Directories that the guest's kernel fills, and others that do not belong to the tree.
_LEFT_OUT = ("./proc/*", "./sys/*", "./dev/*", "./run/*", "./lost+found")
#: libguestfs' appliance has the host's tar.
STAGE = Stage("trees", (__name__,), ("qemu-img", "tar"))


def take(image: OriginalImage, cache: Cache, accelerator: Kind, log_dir: Path) -> Path:
    """Return a tar of the root tree in an image, with its other file systems where it mounts them; made once.

    Owners are numbers; xattrs and device nodes are included. Nothing in the image runs.
    """

    def make(place: Path) -> None:
        log = log_dir / "take-tree.log"
        image_file.check(image.original, log_dir / "qemu-img.log")
        layer = place / "layer.qcow2"
        image_file.layer(image.original, layer, size=None, log=log_dir / "qemu-img.log")
        try:
            _take(image, layer, place / TAR, accelerator, log, stock=False)
        except inspection.NeedsLvmError:
            _take(image, layer, place / TAR, accelerator, log, stock=True)
        finally:
            layer.unlink()

    return STAGE.stored(cache, {"original": image.sha256, "format": image.original.format}, make) / TAR


def _take(image: OriginalImage, layer: Path, tar: Path, accelerator: Kind, log: Path, *, stock: bool) -> None:
    # On a throw-away layer, a journal can be replayed, so that the tree is complete.
    with guestfs.open_writable(
        [(layer, "qcow2")],
        accelerator=accelerator,
        log=log,
        deadline=DEADLINE,
        equipment=guestfs.Equipment(EPOCH, stock),
    ) as guest:
        system = inspection.find(guest)
        inspection.mount(guest, system)
        measure(guest, image.original.path)
        guest.take("/", tar, _LEFT_OUT)


def measure(guest: Guest, path: Path) -> None:
    """Raise `ImageError` when the mounted system of an image exceeds `bounds`: tar writes holes out."""
    counted = bounds.Bounds(path.name, path.stat().st_blocks * 512)
    size = guest.apparent_size()
    if size is not None and size > counted.limit:
        largest = guest.larger_than(counted.limit)
        named = f", {shown(largest, 200)} most of it" if largest is not None else ""
        raise counted.too_large(f"its files have {format_size(size)}{named}")
