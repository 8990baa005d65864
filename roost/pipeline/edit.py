"""Builds an image from an existing one: a layer over it, edited; the recipe's other disks; one image, or a pair.

The layout, the file systems and the boot loader of the root disk remain those of the original.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

from roost.condor import placement
from roost.customize import cloud_init, overlay, unpack
from roost.customize.overlay import Item
from roost.disk import qemu_img, write
from roost.disk.tree import TreeInfo
from roost.disk.write import WrittenDisk
from roost.errors import ImageError
from roost.existing import grow, image, image_file, inspection, kernels
from roost.existing.edit import Edited, edit
from roost.existing.editor import Editor
from roost.existing.image import OriginalImage
from roost.existing.image_file import Original
from roost.host import checksum, guestfs
from roost.pipeline.context import Context
from roost.recipe.model import Recipe
from roost.recipe.words import shown
from roost.store import cache, manifest
from roost.store.manifest import BuiltFile

#: Seconds for the whole editing, including commands.
DEADLINE = 2 * 3600.0


@dataclass(frozen=True, slots=True)
class Layer:
    """The edited root disk before conversion: `path` is a qcow2 over the original, or over `base`."""

    path: Path
    size: int
    base: Path | None
    edited: Edited
    #: Whether opening it needed libguestfs' full appliance.
    stock: bool = False


def root_disk(context: Context, source: OriginalImage, original: Original) -> Layer:
    """Create a layer over the original and edit it."""
    disk, stages, target = context.recipe.root_disk, context.stages, context.target
    log = context.log("qemu-img")
    with stages.stage("original", original.path.name):
        image_file.check(original, log)
        base = None
        under = original
        if disk.overlay:
            base = image.base(original, source.sha256, cache.default(), target, disk.compress, log)
            under = Original(base, "qcow2", original.size)
        path = target / f".{disk.name}.layer"
        image_file.layer(under, path, size=disk.size, log=log)
    with stages.stage("edit", "libguestfs"):
        stock = False
        try:
            edited = _edit(context, path, source.epoch, stock=False)
        except inspection.NeedsLvmError:
            stock = True
            edited = _edit(context, path, source.epoch, stock=True)
    for note in edited.notes:
        stages.note(note)
    return Layer(path, max(original.size, disk.size or 0), base, edited, stock)


def _edit(context: Context, layer: Path, epoch: int, *, stock: bool) -> Edited:
    loaded, recipe, target = context.loaded, context.recipe, context.target
    network = any(command.network for command in recipe.commands)
    with (
        cache.work_directory() as work,
        guestfs.open_writable(
            [(layer, "qcow2")],
            accelerator=context.accelerator.kind,
            log=context.log("edit"),
            deadline=DEADLINE,
            # Verifying certificates needs the current time.
            equipment=guestfs.Equipment(None if network else epoch, stock, network),
        ) as guest,
    ):
        system = inspection.find(guest)
        notes = list(grow.grow(guest, system.root)) if recipe.root_disk.size is not None else []
        inspection.mount(guest, system)
        editor = Editor(loaded, guest, system, epoch, work, context.log("customize"), notes=notes)
        edited = edit(editor)
        if edited.kernel is not None:
            known, kernel_notes = kernels.judge(loaded, guest, edited.kernel, work)
            edited = replace(edited, facts=known, notes=(*edited.notes, *kernel_notes))
        _pygrub(recipe, system)
        if recipe.kernel.placement != "included":
            if edited.kernel is None:
                raise ImageError("the image has no kernel in /boot", hint="write `kernel: {placement: included}`")
            for name, path in (("vmlinuz", edited.kernel.kernel), ("initrd.img", edited.kernel.initrd)):
                if path is not None:
                    guest.download(path, target / name)
                    (target / name).chmod(0o644)
        return edited


def _pygrub(recipe: Recipe, system: inspection.System) -> None:
    """Raise if xen starts the kernel in the image but cannot read its file system."""
    if "xen" not in recipe.hypervisors or placement.kernel_of(recipe, "xen") is not None:
        return
    mounts = {part.mount: part.type for part in system.parts}
    boot = mounts.get("/boot", system.root.type)
    if boot not in placement.PYGRUB_READS:
        raise ImageError(
            f"pygrub cannot read {boot}, so xen would find no kernel in the image",
            hint="write `kernel: {placement: external}`",
        )


def other_disks(context: Context, kernel: str, epoch: int) -> tuple[WrittenDisk, ...]:
    """Write the recipe's other disks, including the recipe's files below their mount points."""
    with cache.work_directory() as work:
        tree = _tree(context, kernel, work, epoch)
        return write.write_disks(context.recipe, tree, context.target, context.tools(epoch))


def _tree(context: Context, kernel: str, work: Path, epoch: int) -> TreeInfo | None:
    loaded = context.loaded
    mounts = overlay.mounted_elsewhere(loaded.recipe)
    seed = cloud_init.write(loaded, work / "seed", epoch)
    if not mounts and seed is None:
        return None
    items = [item for item in overlay.file_items(loaded, kernel) if overlay.below(item.path, mounts)]
    directories = [Item(mount, 0o755) for mount in sorted(mounts)]
    overlay.write([*directories, *items], work / "disks.tar", epoch)
    unpack.unpack(work / "disks.tar", work / "tree", context.log("unpack"))
    return TreeInfo(work / "tree", seed=seed)


def root_files(context: Context, layer: Layer) -> list[BuiltFile]:
    """Write the root disk in the formats that its hypervisors need, or as overlay and base; return the records."""
    disk = context.recipe.root_disk
    log = context.log("qemu-img")
    files = []
    for format in sorted(placement.image_files(context.recipe)[disk.name]):
        path = context.target / f"{disk.name}.{format}"
        if layer.base is not None:
            image_file.overlay(layer.path, layer.base, path, log=log)
        else:
            image_file.flatten(layer.path, path, format, compress=disk.compress, log=log)
        if not qemu_img.same_content(layer.path, "qcow2", path, format):
            raise ImageError(f"{path.name} does not have the edited content", log=log)
        backing = layer.base.name if layer.base is not None else None
        files.append(manifest.describe(path, format, layer.size, checksum.sha256(path), backing))
    if layer.base is not None:
        size = qemu_img.info(layer.base, "qcow2").virtual
        files.append(manifest.describe(layer.base, "qcow2", size, checksum.sha256(layer.base)))
    return files


def kernel_files(layer: Layer, target: Path) -> list[BuiltFile]:
    """Return the records of the kernel and initrd extracted from the image."""
    files = []
    for name, kind in (("vmlinuz", "kernel"), ("initrd.img", "initrd")):
        path = target / name
        if path.exists():
            record = manifest.describe(path, kind, path.stat().st_size, checksum.sha256(path))
            words = root_parameters(layer.edited)
            files.append(replace(record, root=words) if words is not None and kind == "kernel" else record)
    return files


def root_parameters(edited: Edited) -> str | None:
    """Return the kernel parameters of an edited image's root: root=, and for a subvolume rootflags=."""
    subvolume = edited.system.root.subvolume
    if edited.root_uuid is None:
        return None
    if subvolume is None:
        return f"root=UUID={edited.root_uuid}"
    if not re.fullmatch(r"subvol(id)?=[\w@./+-]+", subvolume):
        raise ImageError(f"the root is in a subvolume that kernel parameters cannot name: {shown(subvolume)}")
    return f"root=UUID={edited.root_uuid} rootflags={subvolume}"
