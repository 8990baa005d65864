"""Checks of a recipe's disks before anything is built. Pure; all mistakes at once."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from roost.disk.layout import GPT_PARTITIONS, MBR_LIMIT, MBR_PARTITIONS, SECTOR, plan
from roost.disk.limits import LABEL_LENGTH, LEAST, READ_ONLY
from roost.errors import ImageError, Location, Problem
from roost.recipe.model import Disk, FileSystem, Partition, Recipe
from roost.recipe.quantities import format_size

#: Where the guest's kernel mounts its own file systems: nothing can be placed below.
KERNEL_MOUNTS = ("/proc", "/sys", "/dev", "/run")

#: Directories that init needs before it mounts anything; initramfs-tools' initrd mounts /usr, the busybox one only the
#: root.
BEFORE_FSTAB = ("/bin", "/etc", "/lib", "/lib64", "/sbin")

#: Directories that an existing image brings itself, and that must stay on its own disk.
SYSTEM_MOUNTS = ("/boot", "/usr", "/var", "/home", "/opt", "/root", "/srv", "/tmp")

Key = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Mistake:
    """One mistake in the disks of a recipe; `key` is its path, such as ("disks", 0, "partitions", 1, "size")."""

    key: Key
    what: str
    hint: str | None = None

    def located(self, locate: Callable[[Key], Location | None]) -> Problem:
        """Return it as a problem; `locate` returns the location of a key in the recipe's files."""
        return Problem(self.what, locate(self.key), self.hint)


def check(recipe: Recipe) -> tuple[Mistake, ...]:
    """Return all mistakes in the disks of a recipe that can be found without building it."""
    return tuple(_mistakes(recipe))


def _mistakes(recipe: Recipe) -> Iterator[Mistake]:
    names: set[str] = set()
    mounts: set[str] = set()
    labels: set[str] = set()
    uuids: set[str] = set()
    if sum(disk.role == "io" for disk in recipe.disks) > 1:
        yield Mistake(("disks",), "only one disk can have role io")
    for number, disk in enumerate(recipe.disks):
        key: Key = ("disks", number)
        if disk.name in names:
            yield Mistake((*key, "name"), f"two disks are named '{disk.name}'")
        names.add(disk.name)
        for index, area in enumerate(disk.areas):
            place = (*key, "partitions", index) if disk.partitions else key
            yield from _area(area, place)
            uuid = str(area.uuid) if area.uuid else None
            for taken, value, word in (
                (mounts, area.mount, "mount"),
                (labels, area.label, "label"),
                (uuids, uuid, "uuid"),
            ):
                if value is not None and value in taken:
                    yield Mistake((*place, word), f"two file systems have the {word} {value}")
                if value is not None:
                    taken.add(value)
        yield from _existing(recipe, disk, key)
        yield from _table(recipe, disk, key)
        yield from _readonly(disk, key)
    yield from _early(recipe)
    yield from _unnamed(recipe)


def _area(area: Partition, key: Key) -> Iterator[Mistake]:
    kind = area.filesystem
    if area.size is not None and area.size < LEAST[kind]:
        yield Mistake(
            (*key, "size"),
            f"{format_size(area.size)} is too small for {kind}",
            f"at least {format_size(LEAST[kind])}",
        )
    if kind == "vfat" and area.size is None:
        yield Mistake(key, "vfat needs a size")
    if kind == "squashfs" and (area.label is not None or area.uuid is not None):
        yield Mistake((*key, "label" if area.label else "uuid"), "squashfs has neither label nor UUID", "use erofs")
    elif kind in READ_ONLY and area.free:
        yield Mistake((*key, "free"), f"{kind} is read-only: free space in it is of no use")
    elif area.label is not None and len(area.label) > LABEL_LENGTH[kind]:
        yield Mistake((*key, "label"), f"a label of {kind} has at most {LABEL_LENGTH[kind]} characters: {area.label}")
    if area.mount is not None:
        yield from _mount(area.mount, kind, key)


def _mount(mount: str, kind: FileSystem, key: Key) -> Iterator[Mistake]:
    if mount != "/" and (mount.endswith("/") or any(part in {"", ".", ".."} for part in mount[1:].split("/"))):
        yield Mistake(
            (*key, "mount"), f"{mount} is not a plain path", "write it without //, . or .. and no / at the end"
        )
    if any(mount == top or mount.startswith(f"{top}/") for top in KERNEL_MOUNTS):
        yield Mistake((*key, "mount"), f"{mount} belongs to the guest's kernel: what a disk has there is hidden")
    if mount in ("/", "/boot") and kind in READ_ONLY:
        what = f"{mount} on {kind} could not be written: no machine-id, no logs, no new kernel"
        yield Mistake((*key, "filesystem"), what, "use ext4 with `readonly: true` on the disk, if it must not change")
    if mount == "/" and kind == "vfat":
        yield Mistake((*key, "filesystem"), "a root file system has owners and links, which vfat lacks", "use ext4")


def _table(recipe: Recipe, disk: Disk, key: Key) -> Iterator[Mistake]:
    bios = recipe.kernel.placement != "external" and "kvm" in recipe.hypervisors
    if bios and not disk.partitions and not disk.existing and disk is recipe.root_disk:
        yield Mistake(
            key,
            "a bare file system has no room for a boot loader, and kvm boots the kernel in the image",
            "give the disk partitions, or `kernel: {placement: external}`",
        )
    if not disk.partitions:
        return
    most = MBR_PARTITIONS if disk.table == "mbr" else GPT_PARTITIONS - 1
    if len(disk.partitions) > most:
        yield Mistake(
            (*key, "partitions", most),
            f"{disk.table} holds at most {most} partitions; here: {len(disk.partitions)}",
            "write `table: gpt`" if disk.table == "mbr" else None,
        )
        return
    try:
        plan(recipe, disk, [area.size or area.free or 0 for area in disk.partitions])
    except ImageError as error:
        yield Mistake(
            (*key, "partitions"),
            error.problem.what,
            f"{error.problem.hint}; MBR ends at {MBR_LIMIT * SECTOR >> 40} TiB",
        )


def _existing(recipe: Recipe, disk: Disk, key: Key) -> Iterator[Mistake]:
    """Yield settings that an existing image's disk does not support, or that the recipe must not combine with it."""
    if not disk.existing:
        for index, area in enumerate(disk.areas):
            if recipe.edited and area.mount in SYSTEM_MOUNTS:
                what = f"{area.mount} belongs to the existing image: a disk mounted there would hide it"
                yield Mistake((*_place(recipe, disk, index), "mount"), what, "mount it elsewhere")
        return
    if disk.overlay and "xen" in recipe.hypervisors:
        what = "xen reads raw images only: an overlay needs qcow2"
        yield Mistake((*key, "overlay"), what, "drop `overlay: true`, or take xen out of hypervisors")


def _readonly(disk: Disk, key: Key) -> Iterator[Mistake]:
    if not disk.readonly:
        return
    if disk.role == "io":
        yield Mistake((*key, "readonly"), "the job writes to its io disk: it cannot be read-only")
    for index, area in enumerate(disk.areas):
        place: Key = (*key, "partitions", index) if disk.partitions else key
        if area.filesystem == "swap":
            yield Mistake((*place, "filesystem"), "swap on a read-only disk cannot be used", "drop `readonly: true`")
        if area.free:
            yield Mistake((*place, "free"), "the disk is read-only: free space on it is of no use")


def _early(recipe: Recipe) -> Iterator[Mistake]:
    """Yield mounts that come too late: what init needs before it reads fstab must be on the root."""
    late = (*BEFORE_FSTAB, "/usr") if recipe.busybox_initrd else BEFORE_FSTAB
    for disk in recipe.disks:
        for index, area in enumerate(disk.areas):
            if area.mount is not None and any(_below(area.mount, top) for top in late):
                what = f"{area.mount} on a file system of its own is mounted too late: init needs it to start"
                hint = "leave it on the root file system"
                if recipe.os.source.installs and not any(_below(area.mount, top) for top in BEFORE_FSTAB):
                    hint += ", or write `kernel: {initrd: distribution}`"
                yield Mistake((*_place(recipe, disk, index), "mount"), what, hint)


def _below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def _place(recipe: Recipe, disk: Disk, index: int) -> Key:
    key: Key = ("disks", recipe.disks.index(disk))
    return (*key, "partitions", index) if disk.partitions else key


def _unnamed(recipe: Recipe) -> Iterator[Mistake]:
    """Yield squashfs that a guest could only find by a device name, which differs between hypervisors."""
    if len(recipe.hypervisors) < 2:
        return
    busybox = recipe.busybox_mount
    for disk in recipe.disks:
        for index, area in enumerate(disk.areas):
            if area.filesystem == "squashfs" and area.mount is not None and (busybox or not disk.partitions):
                what = "squashfs has no UUID, and each hypervisor names this disk differently"
                hint = "use erofs" if busybox else "use erofs, or give the disk partitions"
                yield Mistake((*_place(recipe, disk, index), "filesystem"), what, hint)
