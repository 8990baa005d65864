"""A recipe's disks in a hypervisor's machine: files, devices, formats, and what starts them. Pure.

Devices default to ones that work: vda, vdb ... under kvm and xvda, xvdb ... under xen, the disk that boots first
(docs/vm-universe.md, section 2). A device that the recipe names is kept if the hypervisor accepts it, else refused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from string import ascii_lowercase

from roost.condor.hardware import attach, in_attach_order
from roost.condor.machine import MachineKernel, VmDisk
from roost.condor.vm_disk import DEVICES, conflict, guest_slots, problem_of
from roost.errors import Location, Problem
from roost.recipe.base import DiskFormat
from roost.recipe.cmdline import command_line
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Disk, MiB, Recipe

KERNEL = "vmlinuz"
INITRD = "initrd.img"

#: Returns the location of a key of the recipe, such as ("disks", 0, "device"); `Loaded.where` is one.
Where = Callable[[Sequence[str | int]], Location | None]

#: File systems that pygrub reads (docs/xen-in-qemu.md); with `xen_kernel = included` it must find /boot.
PYGRUB_READS = ("ext2", "ext3", "ext4", "vfat")


def file_name(disk: Disk, hypervisor: Hypervisor) -> str:
    """Return the name of a disk's file: NAME.raw or NAME.qcow2."""
    return f"{disk.name}.{format_for(disk, hypervisor)}"


def format_for(disk: Disk, hypervisor: Hypervisor) -> DiskFormat:
    """Return the format in which `hypervisor` gets a disk: the recipe's under kvm, raw under xen.

    HTCondor's script writes no driver for xen, where libvirt then assumes raw (docs/vm-universe.md, section 2).
    """
    return disk.format if hypervisor == "kvm" else "raw"


def image_files(recipe: Recipe) -> dict[str, frozenset[DiskFormat]]:
    """Return, by disk, the formats that the recipe's hypervisors need: a qcow2 for kvm is also made raw for xen."""
    return {
        disk.name: frozenset(format_for(disk, hypervisor) for hypervisor in recipe.hypervisors) for disk in recipe.disks
    }


def kernel_of(recipe: Recipe, hypervisor: Hypervisor, root: str | None = None) -> MachineKernel | None:
    """Return the kernel beside the image that this machine starts, or None when the image boots by itself.

    HTCondor passes a kernel file to xen only; under kvm it is for test boots (`-kernel`). `root` is the root parameter
    of an existing image.
    """
    placement = recipe.kernel.placement
    if placement == "included" or (placement == "both" and (hypervisor == "kvm" or not _wants_files(recipe))):
        return None
    device = devices(recipe, hypervisor).get(recipe.root_disk.name, "xvda" if hypervisor == "xen" else "vda")
    parameters = command_line(recipe, (hypervisor,), root)
    return MachineKernel(KERNEL, INITRD, f"/dev/{device}{_root_number(recipe)}", parameters)


def _wants_files(recipe: Recipe) -> bool:
    return recipe.submit.xen_kernel == "files"


def _root_number(recipe: Recipe) -> str:
    disk = recipe.root_disk
    if not disk.partitions:
        # xen_root is required but has no effect (docs/xen-in-qemu.md); root= is in the kernel's command line.
        return ""
    return str(1 + next(number for number, area in enumerate(disk.areas) if area.mount == "/"))


def ordered(recipe: Recipe) -> list[Disk]:
    """Return the disks in vm_disk's order: the one that boots, then the others in the recipe's order."""
    return [recipe.root_disk, *(disk for disk in recipe.disks if disk is not recipe.root_disk)]


def devices(recipe: Recipe, hypervisor: Hypervisor) -> dict[str, str]:
    """Return the device of each disk: the recipe's if it names one, else the next free letter.

    A disk without a free letter left is missing.
    """
    chosen = {disk.name: disk.device for disk in recipe.disks if disk.device is not None}
    prefix = "xvd" if hypervisor == "xen" else "vd"
    taken = {slot.rstrip("0123456789") for device in chosen.values() for slot in guest_slots(device, hypervisor)}
    free = iter([f"{prefix}{letter}" for letter in ascii_lowercase if f"{prefix}{letter}" not in taken])
    for disk in ordered(recipe):
        if disk.name not in chosen and (device := next(free, None)):
            chosen[disk.name] = device
    return chosen


def vm_disks(recipe: Recipe, hypervisor: Hypervisor) -> dict[str, VmDisk]:
    """Return the item of vm_disk for each disk that has a device, by the disk's name, in vm_disk's order."""
    placed = devices(recipe, hypervisor)
    return {
        disk.name: VmDisk(
            file_name(disk, hypervisor),
            placed[disk.name],
            "r" if disk.readonly else "w",
            format_for(disk, hypervisor),
        )
        for disk in ordered(recipe)
        if disk.name in placed
    }


def memory_of(recipe: Recipe) -> int:
    """Return the machine's memory in MiB, rounded up: vm_memory has no finer unit."""
    return -(-recipe.machine.memory // MiB)


def nowhere(_key: Sequence[str | int]) -> Location | None:
    """Return no location: for a recipe that does not come from a file."""
    return None


def machine_refusals(recipe: Recipe, hypervisor: Hypervisor, where: Where = nowhere) -> tuple[Problem, ...]:
    """Return every reason why `hypervisor` cannot run this recipe's machine, however it is submitted."""
    return tuple(_refusals(recipe, hypervisor, where))


def _refusals(recipe: Recipe, hypervisor: Hypervisor, where: Where) -> Iterator[Problem]:
    index = {disk.name: number for number, disk in enumerate(recipe.disks)}
    placed = vm_disks(recipe, hypervisor)
    example = "xvda, xvdb ..." if hypervisor == "xen" else "vda, vdb ..."
    for disk in recipe.disks:
        key = ("disks", index[disk.name])
        item = placed.get(disk.name)
        if item is None:
            yield Problem(f"no device is left for disk {disk.name}: {hypervisor} has 26", where(key))
        elif disk.device and not DEVICES[hypervisor].fullmatch(disk.device):
            what = f"disk {disk.name}: {disk.device} is not a device of a {hypervisor} machine"
            yield Problem(what, where((*key, "device")), f"leave device out, or use {example}")
        elif problem := problem_of(item, hypervisor):
            yield Problem(f"disk {disk.name} under {hypervisor}: {problem}", where(key))
        if hypervisor == "xen" and disk.format == "qcow2" and recipe.hypervisors == ("xen",):
            what = f"disk {disk.name}: xen reads raw images only, and HTCondor names no driver for another format"
            yield Problem(what, where((*key, "format")), "write `format: raw`")
    yield from _collisions(recipe, placed, hypervisor, index, where)
    yield from _boot(recipe, placed, hypervisor, index, where)
    if hypervisor == "xen":
        yield from _xen(recipe, where)


def _collisions(
    recipe: Recipe, placed: Mapping[str, VmDisk], hypervisor: Hypervisor, index: Mapping[str, int], where: Where
) -> Iterator[Problem]:
    names = [disk.name for disk in recipe.disks if disk.name in placed]
    for number, name in enumerate(names):
        for other in names[:number]:
            first, second = placed[other], placed[name]
            problem = conflict([first, second], hypervisor)
            if not problem and hypervisor == "xen" and _whole_and_part(first.device, second.device):
                problem = f"{first.device} and {second.device} are a whole disk and a part of it"
            if problem:
                what = f"disks {other} and {name}: {problem}"
                yield Problem(what, where(("disks", index[name], "device")), "give each disk its own letter")


def _whole_and_part(first: str, second: str) -> bool:
    """Return whether one device is a disk and the other a partition of it, by their names in a Xen guest."""
    slots = {*guest_slots(first, "xen"), *guest_slots(second, "xen")}
    letters = {slot.rstrip("0123456789") for slot in slots}
    return len(slots) == 2 and len(letters) == 1 and letters < slots


def _boot(
    recipe: Recipe, placed: Mapping[str, VmDisk], hypervisor: Hypervisor, index: Mapping[str, int], where: Where
) -> Iterator[Problem]:
    if kernel_of(recipe, hypervisor) is not None:
        return
    known = {name: disk for name, disk in placed.items() if DEVICES[hypervisor].fullmatch(disk.device)}
    root = recipe.root_disk.name
    if root not in known:
        return
    booted = in_attach_order([attach(disk) for disk in known.values()])[0]
    if booted.file != known[root].file:
        what = f"{booted.file} on {booted.target} would boot, not disk {root} on {known[root].device}"
        hint = "give the root disk the first letter: libvirt sorts disks by it and boots the first, with no fallback"
        yield Problem(what, where(("disks", index[root], "device")), hint)


def _xen(recipe: Recipe, where: Where) -> Iterator[Problem]:
    if recipe.machine.network == "user":
        yield Problem("user networking is for kvm only", where(("machine", "network")), "use nat or bridge")
    if kernel_of(recipe, "xen") is not None:
        for number, word in enumerate(recipe.kernel.parameters):
            # HTCondor's script copies them into XML unescaped, and condor_submit expands and quotes them.
            if any(letter in word for letter in "<>&\"'$`\\"):
                what = f"the kernel parameter {word} has a character that does not reach a xen machine"
                yield Problem(what, where(("kernel", "parameters", number)), "put it into the image, or leave it out")
        return
    if _wants_files(recipe):
        what = "xen_kernel: files needs kernel and initrd beside the image, and they are only in it"
        yield Problem(what, where(("submit", "xen_kernel")), "write `kernel: {placement: both}`")
    if recipe.edited:
        # The build checks the image's own /boot.
        return
    mounts = {area.mount: (disk, area) for disk in recipe.disks for area in disk.areas if area.mount}
    disk, area = mounts.get("/boot") or mounts["/"]
    key = ("disks", recipe.disks.index(disk))
    if area.filesystem not in PYGRUB_READS:
        what = f"pygrub cannot read {area.filesystem}, so xen would find no kernel in the image"
        hint = "put /boot on ext4, write `kernel: {placement: external}`, or `hypervisors: !replace [kvm]`"
        yield Problem(what, where(key), hint)
    if disk is not recipe.root_disk:
        what = f"pygrub looks for the kernel on the first disk, and /boot is on disk {disk.name}"
        yield Problem(what, where(key), "put /boot on the root disk")
