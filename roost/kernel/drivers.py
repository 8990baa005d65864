"""The modules needed by a disk's bus and a file system, and those that a kernel has. Pure.

HTCondor's machine has these buses only (docs/vm-universe.md, section 6); a device's prefix selects one.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal

State = Literal["builtin", "module", "absent"]

#: The modules that a disk on the bus needs, all of them. scsi is libvirt's lsi53c895a.
BUSES: Mapping[str, tuple[str, ...]] = {
    "virtio": ("virtio_pci", "virtio_blk"),
    "ide": ("ata_piix", "sd_mod"),
    "ahci": ("ahci", "sd_mod"),
    "scsi": ("sym53c8xx", "sd_mod"),
    "nvme": ("nvme",),
    "xen": ("xen_blkfront",),
}
#: The modules that a kernel needs to mount a file system.
FILESYSTEMS: Mapping[str, tuple[str, ...]] = {
    name: ("ext4",) if name in ("ext2", "ext3") else (name,)
    for name in ("ext4", "ext3", "ext2", "vfat", "xfs", "btrfs", "squashfs", "erofs")
}
#: Modules requested by name at mount, needed if the kernel has them as modules: checksums, character sets.
BESIDE: Mapping[str, tuple[str, ...]] = {
    "ext4": ("crc32c_generic",),
    "ext3": ("crc32c_generic",),
    "ext2": ("crc32c_generic",),
    "xfs": ("crc32c_generic",),
    "btrfs": ("crc32c_generic",),
    "vfat": ("nls_cp437", "nls_ascii"),
    "erofs": ("crc32c_generic",),
}
#: The bus of a device of vm_disk, by its prefix.
PREFIXES: Mapping[str, str] = {"xvd": "xen", "vd": "virtio", "sd": "scsi", "hd": "ide"}


def bus_of(device: str, hypervisor: str) -> str:
    """Return the bus of a device; a Xen guest has all its disks on Xen's own bus, whatever their names."""
    if hypervisor == "xen":
        return "xen"
    return next(bus for prefix, bus in PREFIXES.items() if device.startswith(prefix))


def module_name(path: str) -> str:
    """Return the name of a module from its file: `kernel/drivers/block/xen-blkfront.ko.xz` is xen_blkfront."""
    return path.rpartition("/")[2].split(".ko")[0].replace("-", "_")


@dataclass(frozen=True, slots=True)
class Modules:
    """The modules of a kernel: built-in names; the file of each module by its name; the dependencies of each file."""

    builtin: frozenset[str] = frozenset()
    loadable: Mapping[str, str] = field(default_factory=dict)
    needs: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def of(cls, builtin: str, dependencies: str) -> Modules:
        """Return the modules listed by depmod in modules.builtin and modules.dep."""
        loadable, needs = {}, {}
        for line in dependencies.splitlines():
            path, _, rest = line.partition(":")
            if path.strip():
                loadable[module_name(path)] = path
                needs[path] = tuple(rest.split())
        return cls(frozenset(module_name(line) for line in builtin.splitlines() if line.strip()), loadable, needs)

    @classmethod
    def listed(cls, builtin: str, files: Iterable[str]) -> Modules:
        """Return the modules from the file names of a package, before depmod has run; without dependencies."""
        return cls(
            frozenset(module_name(line) for line in builtin.splitlines() if line.strip()),
            {module_name(path): path for path in files},
        )

    def state(self, names: Iterable[str]) -> State:
        """Return whether all of `names` exist, and whether one of them must be loaded."""
        wanted = {name.replace("-", "_") for name in names}
        if wanted <= self.builtin:
            return "builtin"
        return "module" if wanted <= self.builtin | self.loadable.keys() else "absent"

    def missing(self, names: Iterable[str]) -> list[str]:
        """Return those of `names` that this kernel does not have at all."""
        return [name for name in names if self.state((name,)) == "absent"]

    def files(self, names: Iterable[str]) -> dict[str, str]:
        """Return the modules that must be loaded for `names`, with all their dependencies: name → file."""
        found: dict[str, str] = {}
        todo = [self.loadable[name] for name in names if name not in self.builtin and name in self.loadable]
        while todo:
            path = todo.pop()
            if module_name(path) not in found:
                found[module_name(path)] = path
                todo += self.needs.get(path, ())
        return found
