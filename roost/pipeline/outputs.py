"""The build step that makes the image's files from its raw disks and its tree, and the files next to them."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roost.condor import placement, submission
from roost.customize import inputs as image_inputs
from roost.disk import qemu_img, write
from roost.disk.tree import TreeInfo
from roost.disk.write import WrittenDisk
from roost.errors import ImageError
from roost.host import checksum, host_facts, rooted
from roost.kernel.inspect import KernelFiles
from roost.pipeline import key_parts, submit_files
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.pipeline.submit_files import Finished
from roost.publish import sbom
from roost.store import manifest
from roost.store.manifest import BuiltFile, Manifest

#: Facts about the image, for its manifest.
Facts = Mapping[str, Any]


def disks(context: Context, written: Sequence[WrittenDisk]) -> list[BuiltFile]:
    """Write each disk in the formats that its hypervisors need; return the records."""
    return [file for one in written for file in disk(context, one.name, one.path)]


def disk(context: Context, name: str, raw: Path) -> list[BuiltFile]:
    """Write the disk `name` of the recipe, which is NAME.raw in the target directory, in its formats."""
    formats = placement.image_files(context.recipe)[name]
    files = [_qcow2(context, name, raw)] if "qcow2" in formats else []
    if "raw" in formats:
        files.append(manifest.describe(raw, "raw", raw.stat().st_size, checksum.sha256(raw)))
    return files


def _qcow2(context: Context, name: str, raw: Path) -> BuiltFile:
    log = context.log("qemu-img")
    compress = next(entry.compress for entry in context.recipe.disks if entry.name == name)
    qcow2 = write.to_qcow2(raw, compress=compress, log=log)
    qcow2.chmod(0o644)
    if not qemu_img.same_content(raw, "raw", qcow2, "qcow2"):
        raise ImageError(f"the content of {qcow2.name} differs from that of {raw.name}", log=log)
    return manifest.describe(qcow2, "qcow2", raw.stat().st_size, checksum.sha256(qcow2))


def kernel(context: Context, kernel: KernelFiles, tree: TreeInfo) -> list[BuiltFile]:
    """Copy kernel and initrd next to the image when the recipe places them there; return the records."""
    if context.recipe.kernel.placement == "included":
        return []
    files = []
    for name, kind, path in (("vmlinuz", "kernel", kernel.kernel), ("initrd.img", "initrd", kernel.initrd)):
        if path is not None:
            target = context.target / name
            shutil.copyfile(rooted.resolve(tree.path, path), target)
            target.chmod(0o644)
            files.append(manifest.describe(target, kind, target.stat().st_size, checksum.sha256(target)))
    return files


def drop_raw(context: Context, written: Sequence[WrittenDisk]) -> None:
    """Remove the raw disks that no hypervisor needs."""
    formats = placement.image_files(context.recipe)
    for disk in written:
        if "raw" not in formats[disk.name]:
            disk.path.unlink()


def finish(context: Context, plan: BuildPlan, files: Sequence[BuiltFile], kernel: str | None, facts: Facts) -> Finished:
    """Write the files next to the disks: bill of materials, submit descriptions, logs, and last the manifest.

    `kernel` is the release of the image's kernel, None if it has none.
    """
    loaded, recipe, target = context.loaded, context.recipe, context.target
    details = {**facts, **({"kernel": kernel} if kernel else {})}
    bill = sbom.document(recipe.name, recipe.description, details, epoch=plan.epoch)
    (target / sbom.NAME).write_bytes(bill)
    snippets = submission.write(loaded, files, target, context.directory)
    record = Manifest(
        recipe.name,
        plan.key,
        submit_files.keys(plan),
        {**plan.source.inputs(), "files": image_inputs.local_files(recipe, loaded.directory), "epoch": plan.epoch},
        tuple(files),
        {**facts, "sbom_sha256": hashlib.sha256(bill).hexdigest()},
        context.stages.seconds,
        parts=key_parts.of(loaded, plan),
        host=host_facts.host(),
        recipe=recipe.model_dump(mode="json", by_alias=True),
    )
    shutil.copytree(context.log_dir, target / "log")
    manifest.write(target, record)
    return Finished(record, snippets)
