"""A larger disk for an existing image: the root's partition and file system grow into the new space, if possible."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.existing.inspection import Part
from roost.host.guestfs import Guest, GuestfsError
from roost.recipe.words import shown

SECTOR = 512
#: Partitions end at a multiple of a MiB, as they begin; the backup of a GPT is in the last 33 sectors.
ALIGNMENT = 2048
GPT_TAIL = 34
MBR_LIMIT = (1 << 32) - 1
_DISK = "/dev/sda"


def grow(guest: Guest, root: Part) -> Iterator[str]:
    """Enlarge the root's partition and file system, neither of them mounted; yield notes."""
    found = re.fullmatch(r"/dev/sda(\d*)", root.device)
    if found is None:
        yield f"the disk is larger now, its root {shown(root.device)} is not: enlarge the volume in a `run` command"
        return
    if found[1]:
        problem = _partition(guest, int(found[1]))
        if problem is not None:
            yield problem
            return
    if root.type in {"ext2", "ext3", "ext4"}:
        guest.grow_ext(root.device)
    elif root.type in {"xfs", "btrfs"}:
        guest.mount(root.device, "/", root.subvolume or "")
        guest.grow_mounted("xfs" if root.type == "xfs" else "btrfs", "/")
        guest.unmount_all()
    else:
        yield f"the disk is larger now, its root is not: {shown(root.type)} cannot be grown"


def _partition(guest: Guest, number: int) -> str | None:
    """Enlarge a partition to the end of the disk; return why this is not possible, or None."""
    table = guest.partition_table(_DISK)
    if table not in {"gpt", "msdos"}:
        return f"the disk is larger now, its root is not: a partition table of type {shown(table)} is not changed"
    sectors = guest.device_size(_DISK) // SECTOR
    if table == "gpt":
        guest.extend_gpt(_DISK)
    parts = guest.partition_entries(_DISK)
    mine = next(part for part in parts if part.number == number)
    if any(part.start > mine.start for part in parts) or (table == "msdos" and number > 4):
        return "the disk is larger now, its root is not: other partitions follow it"
    limit = sectors - GPT_TAIL if table == "gpt" else min(sectors, MBR_LIMIT)
    end = limit // ALIGNMENT * ALIGNMENT - 1
    if end * SECTOR <= mine.end:
        return None
    try:
        guest.resize_partition(_DISK, number, end)
    except GuestfsError as refused:
        return f"the disk is larger now, its root is not: {refused.problem.what}"
    guest.reread_partitions(_DISK)
    return None
