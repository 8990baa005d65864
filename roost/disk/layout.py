"""The layout of a disk: partition table, partitions, file systems, space for the boot loader. Pure.

A layout is computed from the recipe and the sizes of its file systems. Everything is aligned to 1 MiB, so that the gap
between the master boot record and the first partition (2047 sectors) holds GRUB's core image; on a GPT disk that boots,
a BIOS boot partition holds it (GRUB manual, "BIOS installation").
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

from roost.errors import ImageError
from roost.recipe.identity import filesystem_uuid
from roost.recipe.model import Disk, FileSystem, Recipe
from roost.recipe.quantities import format_size

MiB = 1 << 20
SECTOR = 512
ALIGNMENT = MiB // SECTOR

#: The first sector number and the first count that the 32-bit fields of an MBR entry cannot hold (2 TiB).
MBR_LIMIT = 1 << 32
MBR_PARTITIONS = 4
GPT_PARTITIONS = 128
#: Debian's cloud images use this number: partitions that the user adds later are numbered after theirs.
BIOS_BOOT_NUMBER = 14

#: Partition types by file system: the MBR's type code and the GPT's type GUID (UEFI specification; for Linux file
#: systems and swap, those that sfdisk lists as "Linux filesystem" and "Linux swap").
LINUX = ("83", "0FC63DAF-8483-4772-8E79-3D69D8477DE4")
TYPES: dict[FileSystem, tuple[str, str]] = {
    "swap": ("82", "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"),
    "vfat": ("c", "EBD0A0A2-B9E5-4433-87C0-68B6B72699C7"),
}
BIOS_BOOT_TYPE = "21686148-6449-6E6F-744E-656564454649"

Table = Literal["mbr", "gpt"]


@dataclass(frozen=True, slots=True)
class PartitionEntry:
    """One entry of a partition table; `start` and `size` in sectors of 512 bytes.

    `area` is the index into `Disk.areas`, None for the BIOS boot partition. `uuid` is the PARTUUID.
    """

    number: int
    start: int
    size: int
    type: str
    uuid: str
    name: str
    active: bool
    area: int | None

    @property
    def end(self) -> int:
        """The first sector after the partition."""
        return self.start + self.size


@dataclass(frozen=True, slots=True)
class Extent:
    """A range of a disk, in bytes."""

    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Layout:
    """A disk: `size` in bytes, its table (None: one bare file system) and the extent of each of `Disk.areas`.

    `identifier` is the MBR's disk signature (`0x` and 8 digits) or the GPT's disk GUID, None without a table. `core` is
    the place for a boot loader's core image, None when the disk does not boot by itself.
    """

    disk: str
    size: int
    table: Table | None
    identifier: str | None
    partitions: tuple[PartitionEntry, ...]
    areas: tuple[Extent, ...]
    core: Extent | None


def boots(recipe: Recipe, disk: Disk) -> bool:
    """Return whether a BIOS boots from this disk: it holds /, has a table, and the image has its own kernel."""
    return recipe.kernel.placement != "external" and disk.name == recipe.root_disk.name and bool(disk.partitions)


def plan(recipe: Recipe, disk: Disk, sizes: Sequence[int]) -> Layout:
    """Return the layout of `disk` for file systems of `sizes` bytes each, in the order of `Disk.areas`.

    Sizes are rounded up to MiB. Raises `ImageError` when the disk is too large for its table.
    """
    rounded = [-(-size // MiB) * ALIGNMENT for size in sizes]
    if not disk.partitions:
        (only,) = rounded
        size = only * SECTOR
        return Layout(disk.name, size, None, None, (), (Extent(0, size),), None)
    bootable = boots(recipe, disk)
    entries: list[PartitionEntry] = []
    start = ALIGNMENT
    if disk.table == "gpt" and bootable:
        number = max(BIOS_BOOT_NUMBER, len(rounded) + 1)
        uuid = str(recipe.uuid_of("partition", disk.name, "bios-boot"))
        entries.append(PartitionEntry(number, start, ALIGNMENT, BIOS_BOOT_TYPE, uuid, "bios-boot", False, None))
        start += ALIGNMENT
    active = _boot_area(disk) if disk.table == "mbr" and bootable else None
    identifier = _identifier(recipe, disk)
    for index, (area, count) in enumerate(zip(disk.partitions, rounded, strict=True)):
        code, guid = TYPES.get(area.filesystem, LINUX)
        number = index + 1
        if disk.table == "mbr":
            # The kernel's PARTUUID of an MBR partition: disk signature and number (block/partitions/msdos.c).
            kind, uuid = code, f"{identifier[2:]}-{number:02x}"
        else:
            kind, uuid = guid, str(recipe.uuid_of("partition", disk.name, str(index)))
        name = _partition_name(area.label or area.mount or area.filesystem)
        entries.append(PartitionEntry(number, start, count, kind, uuid, name, index == active, index))
        start += count
    # The backup of a GPT is in the last 33 sectors.
    sectors = start + (ALIGNMENT if disk.table == "gpt" else 0)
    if disk.table == "mbr" and sectors > MBR_LIMIT:
        raise ImageError(
            f"disk {disk.name} needs {format_size(sectors * SECTOR)}, an MBR describes no more than 2 TiB",
            hint="give the disk `table: gpt`",
        )
    areas = {entry.area: Extent(entry.start * SECTOR, entry.size * SECTOR) for entry in entries}
    core = None
    if bootable:
        core = (
            Extent(SECTOR, (ALIGNMENT - 1) * SECTOR)
            if disk.table == "mbr"
            else Extent(ALIGNMENT * SECTOR, ALIGNMENT * SECTOR)
        )
    return Layout(
        disk.name,
        sectors * SECTOR,
        disk.table,
        identifier,
        tuple(entries),
        tuple(areas[index] for index in range(len(disk.partitions))),
        core,
    )


def boot_filesystem(recipe: Recipe) -> tuple[Disk, int, str]:
    """Return the place of /boot: the disk, the index of the file system, and its mount point (`/` or `/boot`)."""
    mounts = {area.mount: (disk, index) for disk in recipe.disks for index, area in enumerate(disk.areas) if area.mount}
    mount = "/boot" if "/boot" in mounts else "/"
    disk, index = mounts[mount]
    return disk, index, mount


def boot_uuid(recipe: Recipe) -> UUID:
    """Return the UUID of the file system that holds /boot."""
    disk, index, _ = boot_filesystem(recipe)
    return filesystem_uuid(recipe, disk, index)


def _boot_area(disk: Disk) -> int:
    mounts = [area.mount for area in disk.areas]
    return mounts.index("/boot") if "/boot" in mounts else mounts.index("/")


def _identifier(recipe: Recipe, disk: Disk) -> str:
    uuid = recipe.uuid_of("disk", disk.name)
    if disk.table == "gpt":
        return str(uuid)
    # Readers take zero as "no signature".
    return f"0x{int.from_bytes(uuid.bytes[:4], 'big') or 1:08x}"


def _partition_name(text: str) -> str:
    """Return a GPT partition name: at most 36 UTF-16 units, here of characters that need no quoting in a script."""
    return re.sub(r"[^A-Za-z0-9._/-]", "_", text)[:36]
