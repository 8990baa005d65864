"""The system in an existing image: its root file system and its mounts, found through libguestfs.

libguestfs' own inspection supports hundreds of systems; here a root is a file system with /etc, and with /usr or
/sbin/init. Its fstab names the rest of the system.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from roost.customize import fstab_reader
from roost.errors import HostError, ImageError
from roost.host.guestfs import Guest, GuestfsError
from roost.host.guestfs_calls import JOURNALLED, NO_FILES
from roost.recipe.words import listed, shown

#: Directories that must exist for a system to be edited.
ESSENTIAL = ("/usr", "/etc", "/var")
_LIMIT = 1 << 20


@dataclass(frozen=True, slots=True)
class Part:
    """A file system of the image: its device in libguestfs, its type, and its mount point in the system.

    `subvolume` is the option that selects a part of a btrfs (subvol=NAME, subvolid=NUMBER), None for its default.
    """

    device: str
    type: str
    mount: str
    subvolume: str | None = None


@dataclass(frozen=True, slots=True)
class System:
    """A system: its parts, the root first, and the entries of its fstab that are on no disk of the image."""

    parts: tuple[Part, ...]
    absent: tuple[str, ...]

    @property
    def root(self) -> Part:
        """The root file system."""
        return self.parts[0]


class NeedsLvmError(ImageError):
    """The root is on LVM, which this appliance does not support."""


def find(guest: Guest) -> System:
    """Return the system of the opened disks, unmounted. Raises `ImageError` when there is not exactly one."""
    systems = guest.filesystems()
    locked = [device for device, kind in systems.items() if kind in {"crypto_LUKS", "BitLocker"}]
    if locked:
        what = f"the image is encrypted ({', '.join(map(shown, sorted(locked)))}): roost has no key for it"
        raise ImageError(what, hint="an execution point has none either: decrypt it, or use another image")
    candidates = {device: kind for device, kind in systems.items() if kind not in NO_FILES}
    roots = [device for device, kind in candidates.items() if _is_root(guest, device, kind)]
    if not roots:
        if "LVM2_member" in systems.values():
            if not guest.has("lvm2"):
                raise NeedsLvmError("the image's root is on LVM, which this appliance of libguestfs does not support")
            raise ImageError("the image's volume group has no root file system")
        kinds = listed(sorted({shown(kind) for kind in systems.values()} - {"unknown"})) or "nothing known"
        raise ImageError(
            f"the image has no root file system: no /etc with /usr or /sbin/init beside it (found: {kinds})",
            hint="is it the disk that the system starts from?",
        )
    if len(roots) > 1:
        roots = _not_snapshots(guest, roots, candidates)
    if len(roots) > 1:
        names = ", ".join(shown(device) for device in roots)
        raise ImageError(f"the image has {len(roots)} root file systems ({names})", hint="use one with a single system")
    (root,) = roots
    device, name = guest.split(root)
    subvolume = f"subvol={name}" if name is not None else None
    return _parts(
        guest, Part(device, candidates[root], "/", subvolume), _lines(guest, root, candidates[root]), candidates
    )


def _lines(guest: Guest, root: str, kind: str) -> list[fstab_reader.Line]:
    """Return the fstab of an unmounted root."""
    _mount(guest, root, "/", kind, readonly=True)
    try:
        return fstab_reader.read(_read(guest, "/etc/fstab"))
    finally:
        guest.unmount_all()


def _not_snapshots(guest: Guest, roots: list[str], kinds: Mapping[str, str]) -> list[str]:
    """Return the roots that their own fstab mounts as root: a snapshot's fstab names its original subvolume.

    Roots of several file systems are all returned, for they are several systems.
    """
    if any(kinds[root] != "btrfs" for root in roots) or len({guest.split(root)[0] for root in roots}) > 1:
        return roots
    names = [name for root in kinds if (name := guest.split(root)[1]) is not None]
    others = {f"subvol={name.strip('/')}" for name in names}
    own = []
    for root in roots:
        lines = [subvolume(line) for line in _lines(guest, root, "btrfs") if line.mount == "/"]
        named = lines[0] if lines else None
        name = guest.split(root)[1]
        # The default subvolume has a name, too, which is not in the list.
        itself = named not in others if name is None else named == f"subvol={name.strip('/')}"
        own += [root] if itself else []
    return own or roots


def subvolume(line: fstab_reader.Line) -> str | None:
    """Return the option of a line that selects a subvolume, normalized: subvol=a/b, subvolid=5; None without one."""
    for option in line.options:
        key, _, value = option.partition("=")
        if key == "subvol":
            return f"subvol={value.strip('/')}" if value.strip("/") else "subvolid=5"
        if key == "subvolid" and value.isdecimal():
            return f"subvolid={value}"
    return None


def _is_root(guest: Guest, device: str, kind: str) -> bool:
    try:
        _mount(guest, device, "/", kind, readonly=True)
    except GuestfsError:
        return False
    try:
        entries = {path: guest.lstat(path) for path in ("/etc", "/usr", "/sbin/init")}
        directories = [
            path for path in ("/etc", "/usr") if (seen := entries[path]) is not None and stat.S_ISDIR(seen.mode)
        ]
        return "/etc" in directories and ("/usr" in directories or entries["/sbin/init"] is not None)
    finally:
        guest.unmount_all()


def _parts(guest: Guest, root: Part, lines: list[fstab_reader.Line], systems: Mapping[str, str]) -> System:
    # The subvolumes of a btrfs share one UUID: the options of a line determine which of them it mounts.
    whole = [device for device in systems if guest.split(device)[1] is None]
    names = {name: device for device in whole for name in _names(guest, device)}
    parts, absent = [root], []
    for line in sorted(lines, key=lambda line: line.mount.count("/")):
        if not line.mount.startswith("/") or line.mount == "/" or not _on_a_disk(line):
            continue
        device = names.get(line.source)
        if device is None:
            absent.append(line.source)
            if any(line.mount == directory for directory in ESSENTIAL):
                raise ImageError(
                    f"the system in the image has its {line.mount} on {shown(line.source)}, which is not in the image",
                    hint="use an image that holds the whole system",
                )
            continue
        chosen = subvolume(line) if systems[device] == "btrfs" else None
        if not any((part.device, part.subvolume) == (device, chosen) for part in parts):
            parts.append(Part(device, systems[device], line.mount, chosen))
    return System(tuple(parts), tuple(absent))


def _on_a_disk(line: fstab_reader.Line) -> bool:
    """Return whether a line names a file system on a disk, not a remote, bind or pseudo file system."""
    return "=" in line.source or line.source.startswith("/dev/")


def _names(guest: Guest, device: str) -> Iterator[str]:
    """Yield the names that an fstab can use for a file system: UUID, LABEL and so on, and device names."""
    seen = guest.blkid(device)
    for key, name in (("UUID", "UUID"), ("LABEL", "LABEL"), ("PART_ENTRY_UUID", "PARTUUID"), ("PARTUUID", "PARTUUID")):
        if seen.get(key):
            yield f"{name}={seen[key]}"
            yield f"/dev/disk/by-{name.lower()}/{seen[key]}"
    yield device
    number = re.fullmatch(r"/dev/sda(\d*)", device)
    if number:
        yield from (f"/dev/{disk}{number[1]}" for disk in ("vda", "xvda", "hda"))
    volume = re.fullmatch(r"/dev/([^/]+)/([^/]+)", device)
    if volume:
        # device-mapper doubles a dash in a name.
        yield f"/dev/mapper/{volume[1].replace('-', '--')}-{volume[2].replace('-', '--')}"


def _read(guest: Guest, path: str) -> str:
    seen = guest.stat(path)
    if seen is None or not stat.S_ISREG(seen.mode):
        return ""
    return guest.read(path, min(seen.size, _LIMIT)).decode("utf-8", "replace")


def mount(guest: Guest, system: System, *, readonly: bool = False) -> None:
    """Mount a system's parts at their mount points; raise `ImageError` when one cannot be mounted."""
    for part in system.parts:
        try:
            if part.mount != "/" and not guest.exists(part.mount):
                continue
            _mount(guest, part.device, part.mount, part.type, readonly=readonly, options=part.subvolume or "")
        except GuestfsError as refused:
            unsupported = "unknown filesystem type" in refused.problem.what
            if unsupported:
                what = f"libguestfs' appliance does not support {shown(part.type)}, which the image has on {part.mount}"
                raise HostError(what, hint="use an image with ext4, xfs or btrfs") from refused
            raise ImageError(
                f"the image's {part.mount} ({shown(part.type)}) cannot be mounted: {refused.problem.what}",
                hint="was it shut down cleanly? Check the file system",
            ) from refused


def _mount(guest: Guest, device: str, directory: str, kind: str, *, readonly: bool, options: str = "") -> None:
    if readonly:
        guest.mount_readonly(device, directory, journal=kind in JOURNALLED, options=options)
    else:
        guest.mount(device, directory, options)
