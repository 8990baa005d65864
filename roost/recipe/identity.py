"""Identifiers of file systems, derived from the recipe so that the same recipe gives the same bytes."""

from __future__ import annotations

from uuid import UUID

from roost.recipe.model import Disk, Recipe


def filesystem_uuid(recipe: Recipe, disk: Disk, index: int) -> UUID:
    """Return the UUID of the `index`th file system of a disk (`Disk.areas`): the recipe's, else a derived one."""
    return disk.areas[index].uuid or recipe.uuid_of("filesystem", disk.name, str(index))


def filesystem_id(recipe: Recipe, disk: Disk, index: int) -> str:
    """Return the value of `UUID=` in fstab and on a kernel's command line; vfat has a volume id of 8 digits."""
    uuid = filesystem_uuid(recipe, disk, index)
    if disk.areas[index].filesystem == "vfat":
        digits = uuid.hex[:8].upper()
        return f"{digits[:4]}-{digits[4:]}"
    return str(uuid)
