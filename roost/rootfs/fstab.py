"""/etc/fstab: every file system of the recipe by its UUID, so that it does not matter what its disk is called."""

from __future__ import annotations

from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe

OPTIONS = {"ext4": "errors=remount-ro", "ext3": "errors=remount-ro", "ext2": "errors=remount-ro"}


def fstab(recipe: Recipe) -> str:
    """Return the text of fstab(5). The io disk is not in it: the job runner mounts it, by label."""
    lines = ["# Written by roost; file systems by UUID.\n"]
    for disk in recipe.disks:
        if disk.role == "io":
            continue
        for index, area in enumerate(disk.areas):
            source = f"UUID={filesystem_id(recipe, disk, index)}"
            if area.filesystem == "swap":
                lines.append(f"{source}\tnone\tswap\tsw\t0\t0\n")
            elif area.mount is not None:
                options = ["ro"] if disk.readonly else []
                options += [OPTIONS.get(area.filesystem, "defaults")]
                check = 0 if disk.readonly or area.filesystem in {"squashfs", "erofs", "btrfs", "xfs"} else 2
                number = 1 if area.mount == "/" and check else check
                lines.append(f"{source}\t{_escaped(area.mount)}\t{area.filesystem}\t{','.join(options)}\t0\t{number}\n")
    return "".join(lines)


def _escaped(path: str) -> str:
    """Return a path as fstab(5) spells blanks, tabs and backslashes: in octal."""
    return "".join(f"\\{ord(char):03o}" if char in " \t\\#" else char for char in path)
