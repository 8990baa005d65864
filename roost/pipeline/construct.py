"""The steps that make one planned image, from a root tree or from an existing image.

libguestfs reads the finished disks while the host packs and hashes them; nothing appears in build/ before both are
done.
"""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.disk import write
from roost.errors import HostError
from roost.existing import image
from roost.existing.image import OriginalImage
from roost.existing.image_file import Original
from roost.host import namespace
from roost.host.guestfs import Guest
from roost.host.pool import Pool
from roost.kernel import check as kernel_check
from roost.kernel import records
from roost.pipeline import edit, following, outputs, planning, submit_files, tree
from roost.pipeline import image as image_stage
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.pipeline.submit_files import Finished
from roost.recipe.base import DiskFormat
from roost.recipe.model import Recipe
from roost.sources import boot_loader
from roost.sources.source import RootTree
from roost.store import cache, manifest
from roost.verify import prestart, pygrub, readback
from roost.verify.prestart import Prestarted


def construct(context: Context, plan: BuildPlan) -> Finished:
    """Build the image into its directory, which appears whole at the end."""
    stages = context.stages
    try:
        with contextlib.ExitStack() as stack, image_stage.STAGE.running():
            with stages.stage("prepare"):
                namespace.probe()
                stack.enter_context(submit_files.staged(context))
            if plan.original is not None:
                with image.held(plan.original, context.target) as original:
                    finished = _of_image(context, plan, plan.original, original)
            else:
                assert plan.tree is not None
                finished = _of_tree(context, plan, plan.tree)
            with stages.stage("place"):
                stack.close()
            return finished
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            place = error.filename or context.directory
            what = f"no space left on the disk of {place}"
            raise HostError(what, hint="free some space", log=context.log_dir) from error
        raise


def _of_tree(context: Context, plan: BuildPlan, source: RootTree) -> Finished:
    """Build the image from a root tree: unpack and customize it, write the disks, pack them, read them back."""
    recipe, stages, target = context.recipe, context.stages, context.target
    with Pool(max_workers=2) as pool, contextlib.ExitStack() as stack:
        # libguestfs depends on whether KVM works; the first probe takes seconds, in parallel with the bootstrap.
        pool.submit(context.accelerator.find)
        sizes = _last_sizes(recipe, context.directory)
        early = (
            stack.enter_context(prestart.start(sizes, target, context.accelerator, _log(context))) if sizes else None
        )
        bootstrap = source.bootstrap
        known = len(bootstrap.selection.packages) if bootstrap is not None else 0
        with following.installation(context.log("mmdebstrap"), known, stages.events):
            tar = source.make(cache.default(), stages, context.log_dir)
        # The space that commands need is unknown; that of the unpacked tree can be estimated.
        room = None if recipe.run else 2 * tar.stat().st_size
        work = stack.enter_context(cache.work_directory(room))
        with stages.stage("tree", "unpack and customize"):
            made, kernel = tree.make(context, plan, tar, work)
            specs = kernel_check.Specs(plan.spec, planning.others())
            seen = kernel_check.enforce(context.loaded, made.path, kernel, specs, stages.note, cache.default())
            if plan.spec is not None:
                records.remember(cache.default(), plan.spec, plan.suite, seen, f"the image {recipe.name}")
        with stages.stage("disks"):
            reserved = early.files if early else None
            tools = replace(context.tools(plan.epoch), grub=_modules(context, plan))
            written = write.write_disks(recipe, made, target, tools, reserved=reserved)
        reading = pool.submit(read_back, context, {disk.name: (disk.path, "raw") for disk in written}, early)
        with stages.stage("images", "qcow2, sums"):
            files = [*outputs.disks(context, written), *outputs.kernel(context, kernel, made)]
            root = next(disk.path for disk in written if disk.name == recipe.root_disk.name)
            started = pygrub.verify(recipe, root, pygrub.of_tree(recipe, made.path, kernel), context.log("pygrub"))
        # The tree is no longer needed: it is removed while libguestfs reads.
        pool.submit(cache.remove_tree, made.path)
        facts = reading.result()
        outputs.drop_raw(context, written)
        facts |= {"kernel": seen.to_json(), "pygrub": started}
        with stages.stage("record", "bill of materials, submit description, manifest"):
            finished = outputs.finish(context, plan, files, kernel.version, facts)
        with stages.stage("clean up"):
            stack.close()
            pool.shutdown()
        return finished


def _modules(context: Context, plan: BuildPlan) -> Path | None:
    """Return GRUB's modules from the image's own archive, None for the host's."""
    bootstrap = plan.bootstrap
    return (
        boot_loader.modules(bootstrap, cache.default(), context.log("boot-loader")) if bootstrap is not None else None
    )


def _of_image(context: Context, plan: BuildPlan, source: OriginalImage, original: Original) -> Finished:
    """Build the image from an existing one: its root disk is edited, the other disks are written."""
    recipe, stages, target = context.recipe, context.stages, context.target
    with Pool(max_workers=2) as pool:
        pool.submit(context.accelerator.find)
        layer = edit.root_disk(context, source, original)
        kernel = layer.edited.kernel
        with stages.stage("disks"):
            version = kernel.version if kernel is not None else ""
            written = edit.other_disks(context, version, source.epoch)
        disks: dict[str, tuple[Path, DiskFormat]] = {disk.name: (disk.path, "raw") for disk in written}
        disks[recipe.root_disk.name] = (layer.path, "qcow2")
        reading = pool.submit(_verify, context, disks, stock=layer.stock)
        with stages.stage("images", "qcow2, sums"):
            files = edit.root_files(context, layer)
            files += outputs.disks(context, written)
            files += edit.kernel_files(layer, target)
        facts = {**reading.result(), "notes": list(layer.edited.notes)}
        layer.path.unlink()
        outputs.drop_raw(context, written)
        if layer.edited.facts is not None:
            facts["kernel"] = layer.edited.facts.to_json()
        with stages.stage("record", "bill of materials, submit description, manifest"):
            return outputs.finish(context, plan, files, version or None, facts)


def _last_sizes(recipe: Recipe, directory: Path) -> dict[str, int] | None:
    """Return the sizes of the last build's disks, in bytes by the disk's name; None if one is unknown."""
    record = manifest.read(directory)
    known = {file.name: file.virtual for file in record.files} if record else {}
    sizes = {}
    for disk in recipe.disks:
        size = known.get(f"{disk.name}.qcow2", known.get(f"{disk.name}.raw"))
        if size is None:
            return None
        sizes[disk.name] = size
    return sizes


def read_back(
    context: Context, images: Mapping[str, tuple[Path, DiskFormat]], early: Prestarted | None
) -> dict[str, Any]:
    """Verify the disks with libguestfs, in the appliance started in advance if it has opened these files."""
    opened = None
    if early:
        with context.stages.stage("appliance", "libguestfs starts"):
            opened = early.take({name: path for name, (path, _) in images.items()})
    facts = _verify(context, images, opened)
    if early:
        early.release()
    return facts


def _verify(
    context: Context,
    images: Mapping[str, tuple[Path, DiskFormat]],
    opened: Guest | None = None,
    *,
    stock: bool = False,
) -> dict[str, Any]:
    """Verify the disks with libguestfs, independently of their writers; return the facts found."""
    with context.stages.stage("read back", "libguestfs"):
        appliance = readback.Appliance(context.accelerator, _log(context), stock=stock)
        seen = readback.readback(context.recipe, images, appliance, opened=opened, where=context.loaded.where)
        return dict(seen.facts)


def _log(context: Context) -> Path:
    return context.log("readback")
