"""/etc/fstab: every file system of the recipe by its UUID, so that disk names do not matter.

squashfs has no UUID. In a partition it is found by the partition's UUID; without one only by the device name in the
machine.
"""

from __future__ import annotations

from string import ascii_lowercase

from roost.condor import placement
from roost.disk.layout import plan
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Disk, Recipe

READ_ONLY = frozenset({"squashfs", "erofs"})
OPTIONS = {"ext4": "errors=remount-ro", "ext3": "errors=remount-ro", "ext2": "errors=remount-ro"}


def fstab(recipe: Recipe) -> str:
    """Return the text of fstab(5). The io disk is not in it: the job runner mounts it, by label."""
    lines = ["# Written by roost; file systems by UUID.\n"]
    for disk in recipe.disks:
        if disk.role == "io":
            continue
        for index, area in enumerate(disk.areas):
            source = _source(recipe, disk, index)
            if area.filesystem == "swap":
                lines.append(f"{source}\tnone\tswap\tsw\t0\t0\n")
            elif area.mount is not None:
                readonly = disk.readonly or area.filesystem in READ_ONLY
                options = ["ro"] if readonly else []
                options += [OPTIONS.get(area.filesystem, "defaults")]
                check = 0 if readonly or area.filesystem in {"btrfs", "xfs"} else 2
                number = 1 if area.mount == "/" and check else check
                lines.append(f"{source}\t{_escaped(area.mount)}\t{area.filesystem}\t{','.join(options)}\t0\t{number}\n")
    return "".join(lines)


def _source(recipe: Recipe, disk: Disk, index: int) -> str:
    if disk.areas[index].filesystem != "squashfs":
        return f"UUID={filesystem_id(recipe, disk, index)}"
    if by_partition(recipe, disk):
        (uuid,) = (entry.uuid for entry in plan(recipe, disk, [1] * len(disk.areas)).partitions if entry.area == index)
        return f"PARTUUID={uuid}"
    return f"/dev/{guest_device(recipe, disk)}{index + 1 if disk.partitions else ''}"


def by_partition(recipe: Recipe, disk: Disk) -> bool:
    """Return whether a guest finds this disk's file systems by PARTUUID, which busybox' mount does not support."""
    return bool(disk.partitions) and not recipe.busybox_mount


def guest_device(recipe: Recipe, disk: Disk) -> str:
    """Return the Linux name of a disk: its position among the disks of its bus, lettered from a.

    (docs/vm-universe.md, section 2: libvirt attaches disks in the order of their letters.)
    """
    given = placement.devices(recipe, recipe.hypervisors[0])
    device = given[disk.name]
    if recipe.hypervisors[0] == "xen":
        return device
    prefix = device[:2]
    order = sorted(name for name in given.values() if name[:2] == prefix)
    return f"{prefix}{ascii_lowercase[order.index(device)]}"


def _escaped(path: str) -> str:
    """Return a path with blanks, tabs and backslashes escaped for fstab(5): in octal."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\\#" else char for char in path)
