"""The build step that makes the tree of one image: unpacked, with its kernel and the recipe's additions."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from roost.customize import assemble, cloud_init, overlay, unpack
from roost.customize.overlay import Item
from roost.disk import grub
from roost.disk.layout import boot_filesystem
from roost.disk.tree import DeviceNode, TreeInfo
from roost.host import rooted
from roost.kernel import files as kernel_files
from roost.kernel import initrd, initrd_choice, inspect
from roost.kernel.inspect import KernelFiles
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.recipe.cmdline import command_line
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe
from roost.sources import registry

#: Device nodes that a system needs before udev or devtmpfs (Linux, admin-guide/devices.txt); the kernel makes the rest.
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


def make(context: Context, plan: BuildPlan, tar: Path, work: Path) -> tuple[TreeInfo, KernelFiles]:
    """Unpack the root tree `tar` in `work` and apply the recipe to it; return the tree and its kernel."""
    loaded, recipe = context.loaded, context.recipe
    tree = work / "tree"
    unpack.unpack(tar, tree, context.log("unpack"))
    kernel = _kernel(context, plan, tree)
    systemd = rooted.resolve(tree, "sbin/init").name == "systemd"
    items = [
        *overlay.system_items(recipe),
        *registry.of(recipe).items(loaded),
        *overlay.job_items(recipe, systemd=systemd),
        *_boot_loader(recipe, kernel),
        *overlay.file_items(loaded, kernel.version),
    ]
    assemble.customize(loaded, tree, items, work, epoch=plan.epoch, log_dir=context.log_dir)
    seed = cloud_init.write(loaded, work / "seed", plan.epoch)
    return TreeInfo(tree, DEVICES, kernel.kernel, kernel.initrd, seed), kernel


def _kernel(context: Context, plan: BuildPlan, tree: Path) -> KernelFiles:
    """Return the kernel of a tree, after adding it if it is not one of the tree's packages."""
    kind = initrd_choice.kind(context.recipe)
    wanted = initrd_choice.drivers(context.recipe, kind)
    if plan.kernel is None:
        found = inspect.newest(tree)
        if found.initrd is not None or kind != "busybox" or not context.recipe.os.source.installs:
            return found
        # The kernel's package is in the tree; initramfs-tools, its dependency, did not run.
        target = rooted.resolve(tree, f"boot/initrd.img-{found.version}")
        initrd.make(tree, found.version, initrd.Payload(wanted, plan.epoch), target, context.log("kernel"))
        return replace(found, initrd=f"/boot/{target.name}")
    return kernel_files.install(
        plan.kernel, tree, kind=kind, wanted=wanted, epoch=plan.epoch, log=context.log("kernel")
    )


def _boot_loader(recipe: Recipe, kernel: KernelFiles) -> list[Item]:
    """Return grub.cfg, which GRUB and pygrub read, unless the kernel is only next to the image."""
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
