"""How to make the initrd of a kernel that is added to a tree, and its modules, according to the recipe."""

from __future__ import annotations

from collections.abc import Sequence

from roost.recipe.model import Recipe

#: Drivers of disks by bus (HTCondor: the prefix of vm_disk's device selects it), then those of file systems.
BUSES = {
    "virtio": ("virtio_pci", "virtio_blk"),
    "ide": ("ata_piix", "sd_mod"),
    "ahci": ("ahci", "sd_mod"),
    "scsi": ("sym53c8xx", "virtio_scsi", "sd_mod"),
    "xen": ("xen-blkfront",),
}
FILESYSTEMS = {
    "ext2": ("ext4", "crc32c_generic"),
    "ext3": ("ext4", "crc32c_generic"),
    "ext4": ("ext4", "crc32c_generic"),
    "vfat": ("vfat", "nls_cp437", "nls_ascii", "nls_utf8"),
    # Their checksums use the kernel's crypto API, which requests a module by name at mount.
    "xfs": ("crc32c_generic", "xfs"),
    "btrfs": ("crc32c_generic", "xxhash_generic", "blake2b_generic", "btrfs"),
    "squashfs": ("squashfs",),
    "erofs": ("crc32c_generic", "erofs"),
}
#: The power button, the only means of HTCondor's eviction, and the driver through which programs read it.
BUTTON = ("button", "evdev")


def kind(recipe: Recipe) -> str:
    """Return how to make the initrd of a kernel that is added to the tree."""
    return recipe.kernel.initrd or ("distribution" if recipe.os.source.installs else "busybox")


def drivers(recipe: Recipe, kind: str) -> tuple[str, ...]:
    """Return the modules of the busybox initrd."""
    return modules(_mounted_early(recipe, kind), xen="xen" in recipe.hypervisors)


def _mounted_early(recipe: Recipe, kind: str) -> tuple[str, ...]:
    """Return the file systems whose drivers the initrd has: the root's, or all where the tree may have no modules."""
    areas = [area for disk in (recipe.root_disk, *recipe.disks) for area in disk.areas]
    root = next(area.filesystem for area in areas if area.mount == "/")
    if kind == "distribution":
        return (root,)
    return tuple(dict.fromkeys([root, *(area.filesystem for area in areas if area.filesystem != "swap")]))


def modules(filesystems: Sequence[str], *, xen: bool) -> tuple[str, ...]:
    """Return the modules for an initrd: those of every bus of HTCondor's, the file systems, the power button."""
    buses = [bus for bus in BUSES if xen or bus != "xen"]
    wanted = [module for bus in buses for module in BUSES[bus]]
    wanted += [module for name in filesystems for module in FILESYSTEMS.get(name, (name,))]
    return tuple(dict.fromkeys([*wanted, *BUTTON]))
