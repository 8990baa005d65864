"""The build of an image of which only the kernel's parameters have changed: the last build's disks, another grub.cfg.

A whole build would make the same bytes: grub.cfg always has whole blocks of its file system, and it is the only file
that the parameters can change, or the image is built as a whole. The disk is read back as after a whole build. The file
that it is copied from was not touched since it was built, or still has its sum: damage is not to get a sum of its own.
"""

from __future__ import annotations

import os
import re
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

from roost.condor import submission
from roost.customize import units
from roost.disk import grub, grub_file, qemu_img
from roost.disk.layout import Extent, boot_filesystem
from roost.disk.write import EXT
from roost.errors import UsageError
from roost.host import checksum
from roost.host.paths import display
from roost.host.pool import Pool
from roost.pipeline import image as image_stage
from roost.pipeline import submit_files
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.pipeline.submit_files import Finished
from roost.publish import sbom
from roost.recipe.base import DiskFormat
from roost.recipe.cmdline import command_line
from roost.recipe.identity import filesystem_id, filesystem_uuid
from roost.recipe.model import Recipe
from roost.store.manifest import Manifest
from roost.verify import prestart, pygrub
from roost.verify.pygrub import Expected

#: Bytes of the longest grub.cfg that is read; a kernel takes 2 KiB of parameters (Linux source: COMMAND_LINE_SIZE).
_LONGEST = 64 << 10


class _WholeBuildError(Exception):
    """The last build cannot become this one."""


class _Disk(NamedTuple):
    """The disk of grub.cfg: its name, and its file in the last build, which may have been `touched` since."""

    name: str
    file: Path
    format: DiskFormat
    touched: bool


def renew(context: Context, plan: BuildPlan) -> Finished | None:
    """Build the image from the disks of the last build, if only kernel parameters have changed; else return None.

    The caller holds the lock of the directory.
    """
    before = submit_files.unchanged(context, "base", plan.keys.base)
    old = replaced(context.recipe, before) if before is not None else None
    if before is None or old is None:
        return None
    if context.recipe.kernel.placement == "external":
        return submit_files.with_disks_of(before, context, plan)
    disk = _disk(context, before)
    if disk is None:
        return None
    context.accelerator.find()
    try:
        with image_stage.STAGE.running(), submit_files.staged(context) as target:
            return _renewed(context, plan, before, old, disk, target)
    except (_WholeBuildError, submit_files.NoLinksError):
        return None


def replaced(recipe: Recipe, before: Manifest) -> Recipe | None:
    """Return the recipe as it was in the last build, if it differs in no file of the image but grub.cfg; else None.

    The keys of both builds have shown that they differ in kernel parameters alone.
    """
    kernel = before.recipe.get("kernel")
    words = kernel.get("parameters") if isinstance(kernel, dict) else None
    if not isinstance(words, list) or not all(isinstance(one, str) for one in words):
        return None
    old = recipe.model_copy(update={"kernel": recipe.kernel.model_copy(update={"parameters": tuple(words)})})
    return old if _only_in_grub(recipe, old) else None


def _only_in_grub(recipe: Recipe, old: Recipe) -> bool:
    """Return whether another command line changes no file but grub.cfg.

    The recipe's commands and cloud-init can read that file, its templates the recipe.
    """
    used = [units.used_by(" ".join(one.kernel.parameters)) for one in (recipe, old)]
    free = not recipe.commands and recipe.cloud_init is None and not any(one.template for one in recipe.files)
    if not free or recipe.edited or used[0] != used[1]:
        return False
    disk, index, _ = boot_filesystem(recipe)
    # Others may have checksums of a file's content.
    return recipe.kernel.placement == "external" or disk.areas[index].filesystem in EXT


def _disk(context: Context, before: Manifest) -> _Disk | None:
    """Return the disk of grub.cfg; None if the last build has no file of it that can be read."""
    disk, _, _ = boot_filesystem(context.recipe)
    found = []
    formats: tuple[DiskFormat, ...] = ("raw", "qcow2")
    for format in formats:
        file = context.directory / f"{disk.name}.{format}"
        if file.name in before.sums and os.access(file, os.R_OK):
            touched = file.stat().st_ctime_ns != before.file(file.name).ctime_ns
            found.append(_Disk(disk.name, file, format, touched))
    # The raw disk is copied sooner, the qcow2 image, which has no holes, is summed sooner.
    return next((one for one in found if not one.touched), found[-1] if found else None)


def _renewed(context: Context, plan: BuildPlan, before: Manifest, old: Recipe, disk: _Disk, target: Path) -> Finished:
    """Build the image into `target`: the disk with another grub.cfg, all other files of the last build as they are."""
    recipe, stages = context.recipe, context.stages
    raw = target / f"{disk.name}.raw"
    changed = {f"{disk.name}.raw", f"{disk.name}.qcow2"}
    submit_files.link([*(before.sums.keys() - changed), sbom.NAME], context.directory, target)
    with raw.open("xb") as file:
        file.truncate(before.file(disk.file.name).virtual)
    images: dict[str, tuple[Path, DiskFormat]] = {
        one.name: (raw, "raw") if one.name == disk.name else _file(target, one.name, before) for one in recipe.disks
    }
    log = context.log("readback")
    with Pool(max_workers=2) as pool, prestart.opening(images, context.accelerator, log) as early:
        summed = pool.submit(checksum.sha256, disk.file) if disk.touched else None
        # Imported here, since libguestfs starts meanwhile.
        from roost.pipeline import construct, outputs

        with stages.stage("grub.cfg", "other kernel parameters, in the disk of the last build"):
            # debugfs has the host store a new file first (e2fsprogs: lib/ext2fs/unix_io.c), which takes longer.
            known = context.directory / raw.name
            at = _place(recipe, known, context.log("grub")) if raw.name in before.sums else None
            qemu_img.fill(raw, disk.file, disk.format, log=context.log("qemu-img"))
            raw.chmod(0o644)
            text = _replace(recipe, old, raw, at or _place(recipe, raw, context.log("grub")))
            expected = pygrub.again(text, before.facts.get("pygrub"))
            if expected is None and pygrub.is_used(recipe):
                raise _WholeBuildError
        reading = pool.submit(construct.read_back, context, images, early)
        with stages.stage("images", "qcow2, sums"):
            made = {file.name: file for file in outputs.disk(context, disk.name, raw)}
            started = pygrub.verify(recipe, raw, expected or Expected(text, {}), context.log("pygrub"))
        files = tuple(made.get(file.name, file) for file in before.files)
        with stages.stage("submit", "descriptions"):
            snippets = submission.write(context.loaded, files, target, context.directory)
        facts: dict[str, Any] = {**before.facts, **reading.result(), "pygrub": started}
        if summed is not None and summed.result() != before.sums[disk.file.name]:
            stages.note(f"{display(disk.file)} is not as it was built: the whole image is built again")
            raise _WholeBuildError
        if raw.name not in made:
            raw.unlink()
        # The appliance ends meanwhile.
        with stages.stage("record", "manifest"):
            return submit_files.write(context, plan, replace(before, files=files, facts=facts), target, snippets)


def _file(target: Path, name: str, before: Manifest) -> tuple[Path, DiskFormat]:
    """Return a disk of the last build, raw if there is one, and its format."""
    raw = f"{name}.raw" in before.sums
    return (target / f"{name}.raw", "raw") if raw else (target / f"{name}.qcow2", "qcow2")


def _place(recipe: Recipe, raw: Path, log: Path) -> Extent:
    """Return the bytes of a raw disk that are grub.cfg; raise `_WholeBuildError` if they are not in one piece."""
    disk, index, mount = boot_filesystem(recipe)
    path = "/boot/grub/grub.cfg" if mount == "/" else "/grub/grub.cfg"
    at = grub_file.find(raw, filesystem_uuid(recipe, disk, index), path, log)
    if at is None:
        raise _WholeBuildError
    return at


def _replace(recipe: Recipe, old: Recipe, raw: Path, at: Extent) -> str:
    """Replace grub.cfg, which is `at` of a raw disk, and return its new text.

    Raises `_WholeBuildError` if the file that is there is not the one that roost wrote, or the new one is longer.
    """
    with raw.open("r+b") as file:
        file.seek(at.offset)
        text = _other(recipe, old, file.read(at.size) if at.size <= _LONGEST else b"")
        data = text.encode()
        if len(data) != at.size:
            raise _WholeBuildError
        file.seek(at.offset)
        file.write(data)
    return text


def _other(recipe: Recipe, old: Recipe, found: bytes) -> str:
    """Return the new text of grub.cfg; raise `_WholeBuildError` if `found` is not the one of the `old` recipe."""
    disk, index, _ = boot_filesystem(recipe)
    identity = filesystem_id(recipe, disk, index)
    paths = [re.search(rb"^\t%b (\S+)" % word, found, re.MULTILINE) for word in (b"linux16", b"initrd16")]
    kernel, initrd = (one[1].decode("utf-8", "replace") if one else None for one in paths)
    try:
        if kernel is None or found != grub.grub_cfg(old, kernel, initrd, command_line(old), identity).encode():
            raise _WholeBuildError
    except UsageError as error:
        # An older roost wrote parameters that are refused now.
        raise _WholeBuildError from error
    return grub.grub_cfg(recipe, kernel, initrd, command_line(recipe), identity)
