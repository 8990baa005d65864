"""Building one planned image: the stages in their order.

The witness reads the finished image through libguestfs while the host packs and sums it; nothing appears in
build/ before both are done.
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
import shutil
from collections.abc import Mapping
from concurrent.futures import Future
from pathlib import Path
from typing import Any, Literal

from roost.boot import probe
from roost.condor import placement, submission
from roost.customize import assemble, cloud_init, overlay, unpack
from roost.customize import inputs as image_inputs
from roost.customize.overlay import Item
from roost.disk import grub, qemu_img, write
from roost.disk.layout import boot_filesystem
from roost.disk.tools import Tools
from roost.disk.tree import DeviceNode, TreeInfo
from roost.disk.write import WrittenDisk
from roost.errors import HostError, ImageError
from roost.events import Stages
from roost.existing import image
from roost.existing.image import Image
from roost.existing.image_file import Original
from roost.host import checksum, declared, namespace, paths, rooted
from roost.host.accelerator import Accelerator
from roost.host.guestfs import Guest
from roost.host.pool import Pool
from roost.kernel import check as kernel_check
from roost.kernel import files as kernel_files
from roost.kernel import initrd_choice, inspect, known
from roost.pipeline import edit, planning
from roost.pipeline import image as image_stage
from roost.pipeline.planning import Plan
from roost.publish import sbom
from roost.recipe.base import DiskFormat
from roost.recipe.cmdline import command_line
from roost.recipe.identity import filesystem_id
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.sources import registry
from roost.store import cache, manifest, staging
from roost.store.manifest import BuiltFile, Manifest
from roost.verify import ahead, pygrub, readback

#: The nodes that a system needs before udev or devtmpfs (Linux, admin-guide/devices.txt); the kernel makes the rest.
DEVICES = (
    DeviceNode("/dev/console", "c", 5, 1, 0o600),
    DeviceNode("/dev/full", "c", 1, 7, 0o666),
    DeviceNode("/dev/null", "c", 1, 3, 0o666),
    DeviceNode("/dev/ptmx", "c", 5, 2, 0o666),
    DeviceNode("/dev/random", "c", 1, 8, 0o666),
    DeviceNode("/dev/tty", "c", 5, 0, 0o666),
    DeviceNode("/dev/urandom", "c", 1, 9, 0o666),
    DeviceNode("/dev/zero", "c", 1, 5, 0o666),
)


def log_folder(image: Path) -> Path:
    """Return an empty folder for the logs of building `image`: not in build/, so that a failed build leaves them."""
    # Two checkouts may build images of one name.
    place = hashlib.sha256(os.fsencode(image.absolute().parent)).hexdigest()[:8]
    folder = paths.cache_root() / "log" / f"{image.name}-{place}"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def construct(made: Plan, folder: Path, stages: Stages, log_dir: Path) -> Manifest:
    """Build the image into `folder`, which appears whole at the end; return its manifest."""
    namespace.probe()
    try:
        with staging.staged(folder) as target, image_stage.STAGE.running():
            return _construct(made, folder, target, stages, log_dir)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            place = error.filename or folder
            raise HostError(f"no space left on the disk of {place}", hint="free some space", log=log_dir) from error
        raise


def _construct(made: Plan, folder: Path, target: Path, stages: Stages, log_dir: Path) -> Manifest:
    if made.original is not None:
        with image.held(made.original, target) as original:
            return _edited(made, made.original, original, folder, target, stages, log_dir)
    assert made.tree is not None
    with Pool(max_workers=2) as pool, contextlib.ExitStack() as stack:
        # Whether KVM works decides how libguestfs runs; a first answer takes seconds, which pass beside the bootstrap.
        probed = pool.submit(_accelerator)
        sizes = _last_sizes(made.loaded.recipe, folder)
        log = log_dir / "readback.log"
        early = stack.enter_context(ahead.start(sizes, target, probed, log)) if sizes else None
        tar = made.tree.make(cache.default(), stages, log_dir)
        # What commands add to the tree is not known; what is unpacked is, and some more.
        room = None if made.loaded.recipe.run else 2 * tar.stat().st_size
        work = stack.enter_context(cache.work_folder(room))
        return _stages(made, tar, folder, target, work, stages, log_dir, pool, probed, early)


def _accelerator() -> Literal["kvm", "tcg"]:
    # It is remembered for the host, and belongs to no stage.
    with declared.only(None):
        return "kvm" if probe.probe().usable else "tcg"


def _last_sizes(recipe: Recipe, folder: Path) -> dict[str, int] | None:
    """Return the sizes of the disks of the last build, in bytes by the disk's name; None when there is one to learn."""
    record = manifest.read(folder)
    known = {file.name: file.virtual for file in record.files} if record else {}
    sizes = {}
    for disk in recipe.disks:
        size = known.get(f"{disk.name}.qcow2", known.get(f"{disk.name}.raw"))
        if size is None:
            return None
        sizes[disk.name] = size
    return sizes


def _stages(
    made: Plan,
    tar: Path,
    folder: Path,
    target: Path,
    work: Path,
    stages: Stages,
    log_dir: Path,
    pool: Pool,
    probed: Future[Literal["kvm", "tcg"]],
    early: ahead.Ahead | None,
) -> Manifest:
    recipe = made.loaded.recipe
    with stages.stage("tree", "unpack and customise"):
        tree, kernel = _tree(made, tar, work, log_dir)
        seen = kernel_check.enforce(
            made.loaded, tree.path, kernel, made.spec, planning.others(), stages.note, cache.default()
        )
        if made.spec is not None:
            known.remember(cache.default(), made.spec, made.suite, seen, f"the image {recipe.name}")
    with stages.stage("disks"):
        written = write.write_disks(
            recipe,
            tree,
            target,
            Tools(namespace.current(), made.source.epoch, log_dir, Accelerator(probed.result)),
            reserved=early.files if early else None,
        )
    formats = placement.image_files(recipe)
    witness = pool.submit(_read_back, made.loaded, written, probed, early, stages, log_dir)
    with stages.stage("images", "qcow2, sums"):
        files = [file for disk in written for file in _images(recipe, disk, formats[disk.name], target, log_dir)]
        files += _kernel_files(recipe, kernel, tree, target)
        root = next(disk.path for disk in written if disk.name == recipe.root_disk.name)
        started = pygrub.witness(recipe, root, tree.path, kernel, log_dir / "pygrub.log")
    # Nothing reads the tree any more: it goes while the witness reads.
    pool.submit(cache.remove_tree, tree.path)
    facts = witness.result()
    _drop_raw(written, formats)
    facts |= {"kernel": seen.to_json(), "pygrub": started}
    return _finished(made, files, kernel.version, facts, folder, target, stages, log_dir)


def _edited(
    made: Plan, source: Image, original: Original, folder: Path, target: Path, stages: Stages, log_dir: Path
) -> Manifest:
    """Build the image from one that exists: its root disk is edited, the other disks are written."""
    recipe = made.loaded.recipe
    with Pool(max_workers=2) as pool:
        probed = pool.submit(_accelerator)
        layer = edit.root_disk(made.loaded, source, original, target, stages, log_dir, probed.result)
        kernel = layer.edited.kernel
        with stages.stage("disks"):
            version = kernel.version if kernel is not None else ""
            written = edit.other_disks(made.loaded, version, target, source.epoch, log_dir, probed.result)
        formats = placement.image_files(recipe)
        disks: dict[str, tuple[Path, DiskFormat]] = {disk.name: (disk.path, "raw") for disk in written}
        disks[recipe.root_disk.name] = (layer.path, "qcow2")
        witness = pool.submit(_witness, made.loaded, disks, probed, None, stages, log_dir, stock=layer.stock)
        with stages.stage("images", "qcow2, sums"):
            root = recipe.root_disk.name
            files = edit.root_files(recipe, layer, formats[root], target, log_dir)
            files += [file for disk in written for file in _images(recipe, disk, formats[disk.name], target, log_dir)]
            files += edit.kernel_files(layer, target)
        facts = {**witness.result(), "notes": list(layer.edited.notes)}
        layer.path.unlink()
        _drop_raw(written, formats)
        if layer.edited.facts is not None:
            facts["kernel"] = layer.edited.facts.to_json()
        return _finished(made, files, version or None, facts, folder, target, stages, log_dir)


def _drop_raw(written: tuple[WrittenDisk, ...], formats: Mapping[str, frozenset[DiskFormat]]) -> None:
    for disk in written:
        if "raw" not in formats[disk.name]:
            disk.path.unlink()


def _finished(
    made: Plan,
    files: list[BuiltFile],
    kernel: str | None,
    facts: dict[str, Any],
    folder: Path,
    target: Path,
    stages: Stages,
    log_dir: Path,
) -> Manifest:
    """Write what goes beside the disks: bill of materials, submit descriptions, logs, and last the manifest."""
    recipe = made.loaded.recipe
    told = {**facts, **({"kernel": kernel} if kernel else {})}
    bill = sbom.document(recipe.name, recipe.description, told, epoch=made.source.epoch)
    (target / sbom.NAME).write_bytes(bill)
    submission.write(made.loaded, files, target, folder)
    record = Manifest(
        recipe.name,
        made.key,
        {"rootfs": made.source.key, "image": made.key, "recipe": image_inputs.recipe_key(recipe, made.loaded.folder)},
        {**made.source.inputs(), "files": image_inputs.local_files(recipe, made.loaded.folder)},
        tuple(files),
        {**facts, "sbom_sha256": hashlib.sha256(bill).hexdigest()},
        stages.seconds,
    )
    shutil.copytree(log_dir, target / "log")
    manifest.write(target, record)
    return record


def _tree(made: Plan, tar: Path, work: Path, log_dir: Path) -> tuple[TreeInfo, inspect.KernelFiles]:
    """Unpack the root tree and lay over it what the recipe says."""
    recipe = made.loaded.recipe
    tree = work / "tree"
    unpack.unpack(tar, tree, log_dir / "unpack.log")
    kernel = _kernel(made, tree, log_dir / "kernel.log")
    systemd = rooted.resolve(tree, "sbin/init").name == "systemd"
    items = [
        *overlay.system_items(recipe),
        *registry.of(recipe).items(made.loaded),
        *overlay.job_items(recipe, systemd=systemd),
        *_grub_items(made.loaded, kernel),
        *overlay.file_items(made.loaded, kernel.version),
    ]
    assemble.customize(made.loaded, tree, items, work, epoch=made.source.epoch, log_dir=log_dir)
    seed = cloud_init.write(made.loaded, work / "seed", made.source.epoch)
    return TreeInfo(tree, DEVICES, kernel.kernel, kernel.initrd, seed), kernel


def _kernel(made: Plan, tree: Path, log: Path) -> inspect.KernelFiles:
    """Return the kernel of a tree, after putting it there if it is no package of the tree's."""
    if made.kernel is None:
        return inspect.newest(tree)
    recipe = made.loaded.recipe
    kind = initrd_choice.kind(recipe)
    wanted = initrd_choice.drivers(recipe, kind)
    return kernel_files.install(made.kernel, tree, kind=kind, wanted=wanted, epoch=made.source.epoch, log=log)


def _grub_items(loaded: Loaded, kernel: inspect.KernelFiles) -> list[Item]:
    """Return grub.cfg, which GRUB and pygrub read, unless the kernel is beside the image only."""
    recipe = loaded.recipe
    if recipe.kernel.placement == "external":
        return []
    disk, index, mount = boot_filesystem(recipe)

    def on_boot(path: str) -> str:
        return path if mount == "/" else path.removeprefix("/boot")

    text = grub.grub_cfg(
        recipe,
        on_boot(kernel.kernel),
        on_boot(kernel.initrd) if kernel.initrd else None,
        command_line(recipe),
        filesystem_id(recipe, disk, index),
    )
    return [Item("/boot/grub/grub.cfg", 0o644, text.encode())]


def _images(
    recipe: Recipe, disk: WrittenDisk, formats: frozenset[DiskFormat], target: Path, log_dir: Path
) -> list[BuiltFile]:
    """Write a disk in the formats that its hypervisors need; return the records."""
    files = []
    if "qcow2" in formats:
        compress = next(entry.compress for entry in recipe.disks if entry.name == disk.name)
        qcow2 = write.to_qcow2(disk, compress=compress, log=log_dir / "qemu-img.log")
        qcow2.chmod(0o644)
        if not qemu_img.same_content(disk.path, "raw", qcow2, "qcow2"):
            raise ImageError(f"{qcow2.name} does not hold what {disk.path.name} does", log=log_dir / "qemu-img.log")
        files.append(manifest.describe(target / qcow2.name, "qcow2", disk.layout.size, checksum.sha256(qcow2)))
    if "raw" in formats:
        files.append(manifest.describe(disk.path, "raw", disk.layout.size, checksum.sha256(disk.path)))
    return files


def _kernel_files(recipe: Recipe, kernel: inspect.KernelFiles, tree: TreeInfo, target: Path) -> list[BuiltFile]:
    """Copy kernel and initrd beside the image when the recipe places them there."""
    if recipe.kernel.placement == "included":
        return []
    files = []
    for name, path in (("vmlinuz", kernel.kernel), ("initrd.img", kernel.initrd)):
        if path is not None:
            shutil.copyfile(rooted.resolve(tree.path, path), target / name)
            (target / name).chmod(0o644)
            size = (target / name).stat().st_size
            files.append(
                manifest.describe(
                    target / name, "kernel" if name == "vmlinuz" else "initrd", size, checksum.sha256(target / name)
                )
            )
    return files


def _read_back(
    loaded: Loaded,
    written: tuple[WrittenDisk, ...],
    probed: Future[Literal["kvm", "tcg"]],
    early: ahead.Ahead | None,
    stages: Stages,
    log_dir: Path,
) -> dict[str, Any]:
    opened = early.take({disk.name: disk.path for disk in written}) if early else None
    images: dict[str, tuple[Path, DiskFormat]] = {disk.name: (disk.path, "raw") for disk in written}
    facts = _witness(loaded, images, probed, opened, stages, log_dir)
    if early:
        early.release()
    return facts


def _witness(
    loaded: Loaded,
    images: Mapping[str, tuple[Path, DiskFormat]],
    probed: Future[Literal["kvm", "tcg"]],
    opened: Guest | None,
    stages: Stages,
    log_dir: Path,
    *,
    stock: bool = False,
) -> dict[str, Any]:
    """Let libguestfs, which wrote nothing of it, confirm the disks; return the facts it saw."""
    with stages.stage("read back", "libguestfs"):
        log = log_dir / "readback.log"
        seen = readback.readback(
            loaded.recipe,
            images,
            accelerator=probed.result(),
            log=log,
            opened=opened,
            stock=stock,
            where=loaded.where,
        )
        return dict(seen.facts)
