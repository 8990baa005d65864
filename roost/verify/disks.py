"""Checks the partition tables of finished disks against the recipe, and locates its file systems."""

from __future__ import annotations

from roost.recipe.identity import filesystem_id
from roost.recipe.model import Disk
from roost.recipe.quantities import format_size
from roost.verify import existing, tables
from roost.verify.examination import Examination, Promised
from roost.verify.tables import BIOS_BOOT, SWAP_TYPES, TABLE_BYTES, Table


def check(exam: Examination, disk: Disk, device: str) -> list[Promised]:
    """Check the table of a disk; return the file systems that it should hold and whose place exists."""
    head = exam.guest.read_device(device, TABLE_BYTES, 0)
    table = tables.read(head)
    if disk.existing:
        _existing(exam, disk, device, head)
        return []
    if not disk.partitions:
        if table.kind is not None:
            exam.wrong.append(f"disk {disk.name} has a partition table ({table.kind}), the recipe has none")
        return [_promised(exam, disk, 0, device)]
    if table.mistake is not None:
        exam.wrong.append(f"disk {disk.name}: {table.mistake}")
    if table.kind != disk.table:
        exam.wrong.append(f"disk {disk.name} has {table.kind or 'no'} partition table, not {disk.table}")
        return []
    _loader(exam, disk, device, table)
    places = [seen for seen in table.partitions if seen.type != str(BIOS_BOOT)]
    if len(places) != len(disk.partitions):
        exam.wrong.append(f"disk {disk.name} has {len(places)} partitions, not {len(disk.partitions)}")
    visible = exam.guest.partitions()
    found = []
    for index, (area, seen) in enumerate(zip(disk.partitions, places, strict=False)):
        if (seen.type in SWAP_TYPES) != (area.filesystem == "swap"):
            exam.wrong.append(f"disk {disk.name}, partition {seen.number} has type {seen.type}")
        if f"{device}{seen.number}" in visible:
            found.append(_promised(exam, disk, index, f"{device}{seen.number}"))
        else:
            exam.wrong.append(f"disk {disk.name}, partition {seen.number} is not seen by Linux")
    exam.findings.append(f"disk {disk.name}: {table.kind}, {len(places)} partitions")
    return found


def _existing(exam: Examination, disk: Disk, device: str, head: bytes) -> None:
    """Examine the disk of an existing image, whose partitioning is not the recipe's."""
    if exam.boots and "kvm" in exam.recipe.hypervisors and not any(head[:440]):
        exam.wrong.append(f"disk {disk.name} has no boot loader in its first sectors")
    if disk.size is not None and exam.guest.device_size(device) < disk.size:
        exam.wrong.append(f"disk {disk.name} is smaller than {format_size(disk.size)}")
    others = {entry for entry in exam.guest.devices() if entry != device}
    exam.seen = existing.look(
        exam.guest,
        [
            one
            for one in exam.guest.filesystems()
            if not any(one.removeprefix("btrfsvol:").startswith(other) for other in others)
        ],
    )


def _promised(exam: Examination, disk: Disk, index: int, device: str) -> Promised:
    return Promised(disk, index, disk.areas[index], device, filesystem_id(exam.recipe, disk, index))


def _loader(exam: Examination, disk: Disk, device: str, table: Table) -> None:
    if not (exam.boots and "kvm" in exam.recipe.hypervisors and disk is exam.recipe.root_disk):
        return
    # GRUB's second stage follows the MBR; on GPT it has its own partition.
    core = [seen for seen in table.partitions if seen.type == str(BIOS_BOOT)]
    if table.kind == "gpt" and len(core) != 1:
        exam.wrong.append(f"disk {disk.name} has {len(core)} BIOS boot partitions, not 1")
        return
    start = core[0].offset if core else tables.SECTOR
    if not table.loader or not any(exam.guest.read_device(device, tables.SECTOR, start)):
        exam.wrong.append(f"disk {disk.name} has no boot loader in its first sectors")
    else:
        exam.findings.append(f"disk {disk.name}: boot loader present")
