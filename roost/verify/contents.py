"""All files of finished disks, for a comparison: type, mode, owner, and a digest of the content.

libguestfs mounts each file system read-only and writes it as a tar, whose members are read in sequence: names and
contents are untrusted, and nothing is unpacked. Times are not compared.
"""

from __future__ import annotations

import hashlib
import shutil
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError
from roost.host import archive_words, guestfs
from roost.host.guestfs import Guest, GuestfsError
from roost.host.guestfs_calls import JOURNALLED, NO_FILES
from roost.verify.readback import Appliance

#: Maximum number of files of one image, and bytes of a member's content in memory at a time.
MOST = 2_000_000
CHUNK = 1 << 20
#: Free space to leave on the host's disk, in bytes.
SPARE = 64 << 20
_TYPES = {
    tarfile.DIRTYPE: "directory",
    tarfile.SYMTYPE: "link",
    tarfile.CHRTYPE: "character device",
    tarfile.BLKTYPE: "block device",
    tarfile.FIFOTYPE: "FIFO",
}


@dataclass(frozen=True, slots=True)
class Entry:
    """One name: its type, mode (12 bits), numeric user and group, size in bytes.

    `content` is the sha256 of a file's bytes, a link's target, or a device's numbers; `xattrs` is a digest of the
    extended attributes, empty if there are none.
    """

    type: str
    mode: int
    owner: str
    size: int
    content: str
    xattrs: str = ""


#: Entries by their path from the root of the file system, by the name of the file system: its mount point (`/`,
#: `/boot`), or the name of its disk if it is not mounted.
Contents = Mapping[str, Mapping[str, Entry]]


def read(
    disks: Sequence[tuple[str, Path, str]], known: Sequence[Mapping[str, Any]], appliance: Appliance, scratch: Path
) -> Contents:
    """Return all files of the disks ((name, path, format) each), by the name of their file system.

    `known` are the file systems from a manifest. `scratch` holds one tar at a time. Raises `ImageError` for a file
    system that cannot be read, `HostError` when the disk is full.
    """
    places = {str(one.get("uuid")).lower(): one for one in known}
    images = [(path, kind) for _, path, kind in disks]
    found: dict[str, dict[str, Entry]] = {}
    with guestfs.open_readonly(
        images,
        accelerator=appliance.accelerator.kind,
        log=appliance.log,
        deadline=appliance.deadline,
        stock=appliance.stock,
    ) as guest:
        names = dict(zip(guest.devices(), [name for name, _, _ in disks], strict=True))
        for device, kind in sorted(guest.filesystems().items()):
            if kind in NO_FILES:
                continue
            recorded = places.get(guest.blkid(device).get("UUID", "").lower(), {})
            place = str(recorded.get("mount") or "") or _unmounted(device, names, guest)
            if place in found:
                # A subvolume, or a second file system with the same UUID.
                place = f"{place} on {device}"
            found[place] = _filesystem(guest, device, kind, scratch / "contents.tar")
            if sum(len(one) for one in found.values()) > MOST:
                raise ImageError(f"the image has more than {MOST} files: they are not compared")
    return found


def _unmounted(device: str, names: Mapping[str, str], guest: Guest) -> str:
    """Return the name of a file system's disk, with the number of its partition if it is in one."""
    node = guest.split(device)[0]
    disk = next((one for one in sorted(names, key=len, reverse=True) if node.startswith(one)), None)
    if disk is None:
        return node
    number = node.removeprefix(disk)
    return f"{names[disk]}:{number}" if number else names[disk]


def _filesystem(guest: Guest, device: str, kind: str, tar: Path) -> dict[str, Entry]:
    try:
        guest.mount_readonly(device, journal=kind in JOURNALLED)
        size, room = guest.apparent_size(), shutil.disk_usage(tar.parent).free - SPARE
        if size is not None and size > room:
            raise HostError(
                f"{tar.parent} has no room for the {size >> 20} MiB of files to compare",
                hint="set ROOST_CACHE to a directory with more room",
            )
        guest.take("/", tar)
    except GuestfsError as error:
        raise ImageError(f"the file system on {device} cannot be read: {error.problem.what}") from error
    finally:
        guest.unmount_all()
    try:
        return members(tar)
    finally:
        tar.unlink(missing_ok=True)


def members(tar: Path) -> dict[str, Entry]:
    """Return the members of a tar by absolute path; a hard link gets the entry of its target.

    Raises `ImageError` for more than `MOST` of them, and for what is not a tar.
    """
    found: dict[str, Entry] = {}
    links: dict[str, str] = {}
    try:
        with tarfile.open(tar, "r:", errors="surrogateescape", encoding="utf-8") as archive:
            while (member := archive.next()) is not None:
                # tarfile keeps all members that it has read.
                archive.members = []  # type: ignore[attr-defined]
                path = _absolute(member.name)
                if member.islnk():
                    links[path] = _absolute(member.linkname)
                else:
                    found[path] = _entry(archive, member)
                if len(found) + len(links) > MOST:
                    raise ImageError(f"a file system has more than {MOST} files: they are not compared")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise ImageError(f"the files of the image cannot be read: {archive_words.told(error)}") from error
    found.update({path: found[target] for path, target in links.items() if target in found})
    return found


def _absolute(name: str) -> str:
    return "/" + "/".join(part for part in name.split("/") if part not in ("", "."))


def _entry(archive: tarfile.TarFile, member: tarfile.TarInfo) -> Entry:
    kind = _TYPES.get(member.type, "file")
    content, size = "", 0
    if kind == "file":
        content, size = _digest(archive, member), member.size
    elif kind == "link":
        content = member.linkname
    elif kind.endswith("device"):
        content = f"{member.devmajor}:{member.devminor}"
    attributes = sorted((key, value) for key, value in member.pax_headers.items() if key.startswith("SCHILY."))
    xattrs = hashlib.sha256(repr(attributes).encode("utf-8", "replace")).hexdigest() if attributes else ""
    return Entry(kind, member.mode & 0o7777, f"{member.uid}:{member.gid}", size, content, xattrs)


def _digest(archive: tarfile.TarFile, member: tarfile.TarInfo) -> str:
    digest = hashlib.sha256()
    data = archive.extractfile(member)
    while data is not None and (chunk := data.read(CHUNK)):
        digest.update(chunk)
    return digest.hexdigest()
