"""The witness: opens the finished image read-only through libguestfs and holds it against the recipe.

It shares no code with what writes disks and trees: tables, fstab and grub.cfg are read by code of its own, file
systems by the kernel and the tools of libguestfs' appliance. What it saw (kernels, packages) goes into the manifest.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from roost.errors import ImageError, Location, Problem, SeveralProblemsError
from roost.host import guestfs
from roost.host.guestfs import Guest
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Disk, Partition, Recipe
from roost.recipe.quantities import format_size
from roost.recipe.words import shown
from roost.verify import booting, existing, packages, programs, tables, trees
from roost.verify.sealing import sealing
from roost.verify.tables import BIOS_BOOT, SWAP_TYPES, TABLE_BYTES, Table
from roost.verify.texts import Wrong, head, text

_MODULE_FOLDERS = ("/usr/lib/modules", "/lib/modules")
_JOURNALLED = frozenset({"ext3", "ext4"})

Where = Callable[[Sequence[str | int]], Location | None]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was confirmed, one line each, and facts for the manifest: kernels, packages, file systems, os."""

    findings: tuple[str, ...]
    facts: Mapping[str, Any]


class ReadBackError(SeveralProblemsError, ImageError):
    """The image is not what the recipe promises; `problems` are all differences."""


@dataclass(frozen=True, slots=True)
class _FileSystem:
    """A file system that the recipe promises, and the device on which it should be."""

    disk: Disk
    index: int
    area: Partition
    device: str
    id: str

    @property
    def name(self) -> str:
        what = self.area.mount or self.area.label or self.area.filesystem
        return f"disk {self.disk.name}, {what}"


@dataclass(slots=True)
class _Witness:
    recipe: Recipe
    guest: Guest
    wrong: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    #: The file systems on the disk of an image that existed.
    seen: list[existing.Seen] = field(default_factory=list)

    @property
    def boots(self) -> bool:
        """Whether the image is promised to boot by itself: a kernel and a grub.cfg in it."""
        return self.recipe.kernel.placement != "external"

    def disk(self, disk: Disk, device: str) -> list[_FileSystem]:
        """Check the table of a disk; return the file systems it should hold that have a place."""
        head = self.guest.read_device(device, TABLE_BYTES, 0)
        table = tables.read(head)
        if disk.existing:
            self._existing(disk, device, head)
            return []
        if not disk.partitions:
            if table.kind is not None:
                self.wrong.append(f"disk {disk.name} has a partition table ({table.kind}), the recipe promises none")
            return [self._promised(disk, 0, device)]
        if table.mistake is not None:
            self.wrong.append(f"disk {disk.name}: {table.mistake}")
        if table.kind != disk.table:
            self.wrong.append(f"disk {disk.name} has {table.kind or 'no'} partition table, not {disk.table}")
            return []
        self._loader(disk, device, table)
        places = [seen for seen in table.partitions if seen.type != str(BIOS_BOOT)]
        if len(places) != len(disk.partitions):
            self.wrong.append(f"disk {disk.name} has {len(places)} partitions, not {len(disk.partitions)}")
        self.guest.reread_partitions(device)
        visible = self.guest.partitions()
        found = []
        for index, (area, seen) in enumerate(zip(disk.partitions, places, strict=False)):
            if (seen.type in SWAP_TYPES) != (area.filesystem == "swap"):
                self.wrong.append(f"disk {disk.name}, partition {seen.number} has type {seen.type}")
            if f"{device}{seen.number}" in visible:
                found.append(self._promised(disk, index, f"{device}{seen.number}"))
            else:
                self.wrong.append(f"disk {disk.name}, partition {seen.number} is not seen by Linux")
        self.findings.append(f"disk {disk.name}: {table.kind}, {len(places)} partitions")
        return found

    def _existing(self, disk: Disk, device: str, head: bytes) -> None:
        """Look at the disk of an image that existed: how it is divided is its own."""
        if self.boots and "kvm" in self.recipe.hypervisors and not any(head[:440]):
            self.wrong.append(f"disk {disk.name} has no boot loader in its first sectors")
        if disk.size is not None and self.guest.device_size(device) < disk.size:
            self.wrong.append(f"disk {disk.name} is smaller than {format_size(disk.size)}")
        others = {entry for entry in self.guest.devices() if entry != device}
        self.seen = existing.look(
            self.guest,
            [
                one
                for one in self.guest.filesystems()
                if not any(one.removeprefix("btrfsvol:").startswith(other) for other in others)
            ],
        )

    def system(self, usable: list[_FileSystem]) -> bool:
        """Mount the system of an image that existed, with the recipe's disks in it; return whether there is one."""
        root = existing.root(self.guest, self.seen)
        if root is None:
            return False
        self.guest.mount_readonly(root.device, journal=root.type in _JOURNALLED)
        lines = booting.mounts(text(self.guest, "/etc/fstab") or "")
        mounted = {root.device: "/"}
        for line in sorted(lines, key=lambda line: line.target.count("/")):
            found = existing.chosen(line, self.seen)
            if found and found.type != "swap" and found.device not in mounted and self.guest.exists(line.target):
                mounted[found.device] = line.target
                with contextlib.suppress(guestfs.RefusedError):
                    self.guest.mount_readonly(found.device, line.target, journal=found.type in _JOURNALLED)
        names = frozenset(name for entry in self.seen for name in entry.names)
        names |= {f"uuid={entry.id}".lower() for entry in usable}
        names |= {f"label={entry.area.label}" for entry in usable if entry.area.label}
        self.wrong += existing.absent(lines, names)
        self.facts["filesystems"] += [
            {
                "disk": self.recipe.root_disk.name,
                "type": entry.type,
                "uuid": entry.uuid,
                "mount": mounted.get(entry.device),
                **({"subvolume": entry.subvolume} if entry.subvolume is not None else {}),
            }
            for entry in self.seen
        ]
        self.findings.append(f"root: {shown(root.type)} {shown(root.uuid)} on disk {self.recipe.root_disk.name}")
        if self.boots:
            wrong, self.facts["kernels"], finding = existing.boots(self.guest, root, "/boot" in mounted.values())
            self.wrong += wrong
            self.findings.append(finding)
        self.mount([entry for entry in usable if entry.area.mount is not None], mounted=True)
        self.entries(lines, usable)
        return True

    def _promised(self, disk: Disk, index: int, device: str) -> _FileSystem:
        return _FileSystem(disk, index, disk.areas[index], device, filesystem_id(self.recipe, disk, index))

    def _loader(self, disk: Disk, device: str, table: Table) -> None:
        if not (self.boots and "kvm" in self.recipe.hypervisors and disk is self.recipe.root_disk):
            return
        # GRUB's second stage follows the MBR; on GPT it has a partition of its own.
        core = [seen for seen in table.partitions if seen.type == str(BIOS_BOOT)]
        if table.kind == "gpt" and len(core) != 1:
            self.wrong.append(f"disk {disk.name} has {len(core)} BIOS boot partitions, not 1")
            return
        start = core[0].offset if core else tables.SECTOR
        if not table.loader or not any(self.guest.read_device(device, tables.SECTOR, start)):
            self.wrong.append(f"disk {disk.name} has no boot loader in its first sectors")
        else:
            self.findings.append(f"disk {disk.name}: boot loader present")

    def filesystem(self, promised: _FileSystem) -> bool:
        """Check what is on the device against the promise; return whether it can be mounted as promised."""
        area, seen = promised.area, self.guest.blkid(promised.device)
        kind = seen.get("TYPE")
        if kind != area.filesystem:
            self.wrong.append(f"{promised.name}: {shown(kind or 'nothing')} is there, not {area.filesystem}")
            return False
        if kind != "squashfs" and seen.get("UUID", "").lower() != promised.id.lower():
            self.wrong.append(f"{promised.name}: its UUID is {shown(seen.get('UUID', 'none'))}, not {promised.id}")
        label = seen.get("LABEL", "")
        if label.lower() != (area.label or "").lower() if kind == "vfat" else label != (area.label or ""):
            self.wrong.append(f"{promised.name}: its label is '{shown(label)}', not '{area.label or ''}'")
        if area.size is not None and self.guest.device_size(promised.device) < area.size:
            self.wrong.append(f"{promised.name}: smaller than {format_size(area.size)}")
        if kind in {"ext2", "ext3", "ext4"}:
            self._ext(promised)
        return True

    def _ext(self, promised: _FileSystem) -> None:
        try:
            seen = self.guest.ext_parameters(promised.device)
        except guestfs.RefusedError:
            seen = {}
        if seen.get("Filesystem state") != "clean":
            self.wrong.append(f"{promised.name}: its state is '{shown(seen.get('Filesystem state', 'unknown'))}'")
        try:
            free = (int(seen["Free blocks"]) - int(seen["Reserved block count"])) * int(seen["Block size"])
        except (KeyError, ValueError):
            self.wrong.append(f"{promised.name}: its superblock does not tell how much is free")
            return
        if promised.area.free is not None and free < promised.area.free:
            what = f"{format_size(free)} are free, not {format_size(promised.area.free)}"
            self.wrong.append(f"{promised.name}: {what}")

    def mount(self, systems: list[_FileSystem], *, mounted: bool = False) -> bool:
        """Mount the file systems where the guest will; return whether the root is there (`mounted`: already)."""
        for promised in sorted(systems, key=lambda entry: entry.area.mount or ""):
            target = promised.area.mount
            if target is None or (target != "/" and not mounted):
                continue
            try:
                self.guest.mount_readonly(promised.device, target, journal=promised.area.filesystem in _JOURNALLED)
            except guestfs.RefusedError as refused:
                self.wrong.append(f"{promised.name}: cannot be mounted on {target}: {refused.problem.what}")
            else:
                mounted = mounted or target == "/"
                self._free(promised, target)
        return mounted

    def _free(self, promised: _FileSystem, target: str) -> None:
        """Check the promise of free space where only a mounted file system tells it."""
        if promised.area.filesystem not in {"xfs", "btrfs"} or promised.area.free is None:
            return
        free = self.guest.available(target)
        if free < promised.area.free:
            what = f"{format_size(free)} are free, not {format_size(promised.area.free)}"
            self.wrong.append(f"{promised.name}: {what}")

    def seed(self, promised: _FileSystem) -> None:
        """Check that cloud-init finds what it looks for on the disk with role seed."""
        try:
            self.guest.mount_readonly(promised.device)
        except guestfs.RefusedError as refused:
            self.wrong.append(f"{promised.name}: cannot be mounted: {refused.problem.what}")
            return
        user, meta = (text(self.guest, f"/{name}") for name in ("user-data", "meta-data"))
        if user is None:
            self.wrong.append(f"{promised.name}: there is no user-data")
        if not re.search(r'^["\']?instance-id["\']?:', meta or "", re.MULTILINE):
            self.wrong.append(f"{promised.name}: meta-data names no instance")
        self.guest.unmount_all()
        self.findings.append(f"{promised.name}: user-data and meta-data present")

    def fstab(self, systems: list[_FileSystem]) -> None:
        """Check that fstab names the file systems of the recipe and none that are not there."""
        content = text(self.guest, "/etc/fstab")
        if content is None:
            self.wrong.append("there is no /etc/fstab")
            return
        lines = booting.mounts(content)
        labels = {entry.area.label for entry in systems if entry.area.label}
        ids = {entry.id.lower() for entry in systems}
        for line in lines:
            key, _, value = line.source.partition("=")
            value = value.strip('"')
            known = value.lower() in ids if key == "UUID" else value in labels if key == "LABEL" else None
            if known is False:
                self.wrong.append(f"/etc/fstab mounts {shown(line.source)}, which is on no disk")
            elif known is None and line.filesystem not in booting.PSEUDO | {"squashfs"}:
                self.wrong.append(f"/etc/fstab names {shown(line.source)}, not a UUID: devices change their names")
        self.entries(lines, systems)
        self.findings.append(f"/etc/fstab: {len(lines)} file systems, all present")

    def entries(self, lines: list[booting.Mount], systems: list[_FileSystem]) -> None:
        """Check that the lines of fstab mount all file systems of the recipe."""
        for entry in systems:
            target = entry.area.mount or ("none" if entry.area.filesystem == "swap" else None)
            if target is None or entry.disk.role == "io":
                continue
            sources = {f"uuid={entry.id}".lower(), f"label={entry.area.label}".lower()}
            mine = [line for line in lines if line.source.replace('"', "").lower() in sources]
            if entry.area.filesystem == "squashfs":
                # It has no UUID: the target must do.
                mine = [line for line in lines if line.filesystem == "squashfs"]
            if not any(line.target == target or line.filesystem == "swap" == entry.area.filesystem for line in mine):
                self.wrong.append(f"/etc/fstab does not mount {entry.name} on {target} by UUID={entry.id}")

    def boot(self, systems: list[_FileSystem]) -> None:
        """Check that grub.cfg starts a kernel and an initrd that exist, on this root."""
        paths = ("/boot/grub/grub.cfg", "/boot/grub2/grub.cfg")
        found = next((found for path in paths if (found := text(self.guest, path)) is not None), None)
        if found is None:
            self.wrong.append(f"there is no {paths[0]}")
            return
        entries = booting.menu(found)
        if not entries:
            self.wrong.append("grub.cfg has no menu entry")
        own_boot = any(entry.area.mount == "/boot" for entry in systems)
        root = next((entry.id for entry in systems if entry.area.mount == "/"), "")
        kernels = []
        for entry in entries:
            given = [word for word in entry.command_line if word.startswith("root=")]
            if [word.lower() for word in given] != [f"root=UUID={root}".lower()]:
                self.wrong.append(f"grub.cfg: '{shown(' '.join(given)) or 'no root='}' is not root=UUID={root}")
            kernels.append(self._kernel(entry, "/boot" if own_boot else ""))
        self.facts["kernels"] = [kernel for kernel in kernels if kernel]
        self.findings.append(f"grub.cfg: {len(entries)} entries, kernel and initrd present, root=UUID={root}")

    def _kernel(self, entry: booting.Entry, prefix: str) -> dict[str, Any] | None:
        if entry.kernel is None:
            self.wrong.append(f"grub.cfg: the entry '{shown(entry.title)}' starts no kernel")
            return None
        path = prefix + re.sub(r"^\([^)]*\)", "", entry.kernel)
        begin = head(self.guest, path, 32768)
        version = booting.kernel_version(begin) if begin else None
        if version is None:
            self.wrong.append(f"the kernel {shown(path)} of grub.cfg is not there or is no Linux kernel")
            return None
        if not self.recipe.busybox_initrd and not any(
            self.guest.exists(f"{folder}/{version}") for folder in _MODULE_FOLDERS
        ):
            self.wrong.append(f"the image has no modules for its kernel {shown(version)}")
        initrds = []
        for name in entry.initrds:
            initrd = prefix + re.sub(r"^\([^)]*\)", "", name)
            begin = head(self.guest, initrd, 8)
            if begin is None or not begin.startswith(booting.INITRD_MAGIC):
                self.wrong.append(f"the initrd {shown(initrd)} of grub.cfg is not there or is no initrd")
            else:
                initrds.append(initrd)
        if not entry.initrds:
            self.wrong.append(f"grub.cfg: the entry '{shown(entry.title)}' loads no initrd")
        return {"path": path, "version": version, "initrds": initrds}

    def tree(self) -> None:
        """Check the content of the root file system."""
        before = len(self.wrong)
        for check in (
            trees.job,
            programs.check,
            trees.first_boot,
            trees.users,
            trees.files,
            sealing,
        ):
            self.wrong += check(self.guest, self.recipe)
        if len(self.wrong) == before:
            sealed = "sealed: no machine-id, host keys, leases or passwords" if self.recipe.seal else "not sealed"
            self.findings.append(sealed)
        self.facts["packages"], self.facts["packages_from"] = packages.read(self.guest)
        release = text(self.guest, "/etc/os-release") or ""
        self.facts["os"] = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', release, re.MULTILINE))


def nowhere(_key: Sequence[str | int]) -> Location | None:
    """Return no place: the recipe was not read from a file."""
    return None


def _problem(what: str, where: Where) -> Problem:
    return Problem(f"the finished image: {what}", where(what.key) if isinstance(what, Wrong) else None)


def readback(
    recipe: Recipe,
    images: Mapping[str, tuple[Path, str]],
    *,
    accelerator: Literal["kvm", "tcg"],
    log: Path,
    deadline: float = 300.0,
    opened: Guest | None = None,
    stock: bool = False,
    where: Where = nowhere,
) -> ReadBack:
    """Hold the finished disks against their recipe.

    `images` is (path, format) by the disk's name, for every disk of the recipe; `opened` has them open already, in
    the recipe's order; `stock` asks for an appliance that knows LVM; `where` tells the
    place of a key in the recipe. Raises `ReadBackError` with all
    differences, `HostError` when libguestfs does not work here, `ToolError` when it hangs.
    """
    missing = [disk.name for disk in recipe.disks if disk.name not in images]
    if missing:
        raise ImageError(f"no image of disk {', '.join(missing)} to read back")
    with contextlib.ExitStack() as stack:
        guest = opened or stack.enter_context(
            guestfs.open_readonly(
                [images[disk.name] for disk in recipe.disks],
                accelerator=accelerator,
                log=log,
                deadline=deadline,
                stock=stock,
            )
        )
        witness = _Witness(recipe, guest)
        _examine(witness)
    if witness.wrong:
        raise ReadBackError(tuple(_problem(what, where) for what in witness.wrong), log=log)
    return ReadBack(tuple(witness.findings), witness.facts)


def _examine(witness: _Witness) -> None:
    recipe = witness.recipe
    devices = witness.guest.devices()
    if len(devices) != len(recipe.disks):
        witness.wrong.append(f"{len(devices)} disks are seen, not {len(recipe.disks)}")
        return
    promised = [
        entry for disk, device in zip(recipe.disks, devices, strict=True) for entry in witness.disk(disk, device)
    ]
    usable = [entry for entry in promised if witness.filesystem(entry)]
    witness.facts["filesystems"] = [
        {"disk": entry.disk.name, "type": entry.area.filesystem, "uuid": entry.id, "mount": entry.area.mount}
        for entry in usable
    ]
    for entry in usable:
        if entry.disk.role == "seed":
            witness.seed(entry)
    if recipe.edited:
        if witness.system(usable):
            witness.tree()
        else:
            witness.wrong.append("there is no root file system to look into")
        return
    root = next((entry for entry in usable if entry.area.mount == "/"), None)
    if root is None or not witness.mount(usable):
        witness.wrong.append("there is no root file system to look into")
        return
    witness.findings.append(f"root: {root.area.filesystem} {root.id} on disk {root.disk.name}")
    witness.fstab(usable)
    if witness.boots:
        witness.boot(usable)
    witness.tree()
