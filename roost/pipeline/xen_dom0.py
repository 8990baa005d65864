"""Xen and its first domain, for test boots on hosts without Xen: built once from a recipe of roost's own.

The key of the cached result covers the recipe with its files; the archive is not queried again. It is rebuilt when the
recipe changes, or after `inv gc` has removed it.
"""

from __future__ import annotations

import hashlib
import re
from pathlib import Path

from roost.boot.xen_machine import FirstDomain
from roost.customize import inputs as image_inputs
from roost.errors import ImageError
from roost.events import Stages
from roost.host import bzimage, decompress, paths, process
from roost.pipeline import construct, planning
from roost.pipeline.context import Context, log_directory
from roost.recipe import loader
from roost.store import cache

RECIPE = Path("recipes/base/xen-dom0.yaml")
#: The stage's name in the cache, and the files of a result.
STAGE = "xen-dom0"
HYPERVISOR, KERNEL, INITRD, ROOT = "xen", "vmlinuz", "initrd.img", "root.raw"
#: Changes the key when the same recipe yields other files.
_FORM = "kernel unpacked"
#: The offset of the root's file system on its disk, in bytes, and the maximum size of an unpacked hypervisor.
_BEGIN, _MOST = 1 << 20, 64 << 20


def provide(stages: Stages) -> FirstDomain:
    """Return the files of Xen and its first domain; builds them if they are not in the cache.

    Raises what a build raises.
    """
    loaded = loader.load(paths.shipped_root() / RECIPE, paths.shipped_root(), (), planning.problems)
    recipe = image_inputs.recipe_key(loaded.recipe, loaded.directory)
    key = hashlib.sha256(f"{_FORM} {recipe}".encode()).hexdigest()

    def make(directory: Path) -> None:
        stages.note("building Xen's first domain: this is done once, and takes some minutes")
        image = directory / "image"
        context = Context(loaded, image, stages, log_directory(Path(STAGE)))
        construct.construct(context, planning.plan(context))
        for name in (INITRD, ROOT):
            (image / name).rename(directory / name)
        (directory / KERNEL).write_bytes(_kernel(image / KERNEL))
        (directory / HYPERVISOR).write_bytes(_hypervisor(directory, context.log("hypervisor")))

    directory = cache.default().put(STAGE, key, make)
    return FirstDomain(directory / HYPERVISOR, directory / KERNEL, directory / INITRD, directory / ROOT)


def _kernel(path: Path) -> bytes:
    """Return the kernel, unpacked if possible: under emulation Xen takes seconds to unpack an xz one."""
    return bzimage.unpacked(path) or path.read_bytes()


def _hypervisor(directory: Path, log: Path) -> bytes:
    """Return the hypervisor from the first domain's root, unpacked: QEMU does not start a packed one."""
    disk = f"{ROOT}?offset={_BEGIN}"

    def debugfs(request: str) -> bytes:
        return process.run(
            ["debugfs", "-R", request, disk], deadline=60, capture=True, cwd=directory, log=log, what="cannot read Xen"
        ).stdout

    names = re.findall(r"/(xen-[\w.-]+\.gz)/", debugfs("ls -p /boot").decode("utf-8", "replace"))
    if len(names) != 1:
        raise ImageError("the first domain has no hypervisor in /boot", log=log)
    debugfs(f"dump /boot/{names[0]} packed")
    packed = directory / "packed"
    with packed.open("rb") as file:
        unpacked = decompress.unpack(file, _MOST)
    packed.unlink()
    return unpacked
