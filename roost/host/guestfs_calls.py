"""The calls to libguestfs, typed: what roost does with disks that are open.

All that comes out of an image is untrusted: bytes, or text in which everything that is not UTF-8 is replaced.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roost.host.guestfs_process import GuestfsError, Worker

#: libguestfs' messages are at most 4 MiB, a read must stay below.
_CHUNK = 2 << 20
#: File systems whose journal a read-only mount would replay.
JOURNALLED = frozenset({"ext3", "ext4"})
#: Types of `Guest.filesystems` that hold no files which could be read.
NO_FILES = frozenset({"swap", "unknown", "", "LVM2_member", "crypto_LUKS", "linux_raid_member", "BitLocker"})
#: Where the output of a guest's program goes, and the appliance's default route while its network is taken away.
_PRINTED, _ROUTE = "/dev/.roost-printed", "/run/.roost-route"


@dataclass(frozen=True, slots=True)
class Stat:
    """What lstat(2) says of a file in an image: its mode with the type, owners, size in bytes."""

    mode: int
    uid: int
    gid: int
    size: int


@dataclass(frozen=True, slots=True)
class Partition:
    """A partition of a table: its number, its first and last byte."""

    number: int
    start: int
    end: int


class Guest:
    """Disks opened by libguestfs: /dev/sda, /dev/sdb … in the order given.

    Every method raises `GuestfsError` when libguestfs says no, `ToolError` when it hangs or dies.
    """

    def __init__(self, worker: Worker) -> None:
        self._worker = worker

    def call(self, name: str, *args: object, **options: object) -> Any:
        """Call a function of libguestfs by its name, `options` are its optional arguments; see guestfs(3)."""
        return self._worker.ask({"call": name, "args": list(args), "options": options})

    def devices(self) -> list[str]:
        """Return the disks: /dev/sda and so on."""
        return [str(device) for device in self.call("list_devices")]

    def partitions(self) -> list[str]:
        """Return the partitions of all disks that the kernel sees: /dev/sda1 and so on."""
        return [str(partition) for partition in self.call("list_partitions")]

    def device_size(self, device: str) -> int:
        """Return the size of a disk or partition in bytes."""
        return int(self.call("blockdev_getsize64", device))

    def reread_partitions(self, device: str) -> None:
        """Have the kernel read a partition table again: then all partitions are there, however slow the disk was."""
        self.call("blockdev_rereadpt", device)

    def forget(self, device: str) -> None:
        """Have the kernel forget what it has read of a disk, which was written since from outside."""
        self.call("blockdev_flushbufs", device)
        self.reread_partitions(device)

    def read_device(self, device: str, size: int, offset: int) -> bytes:
        """Return bytes of a disk or partition."""
        return bytes(self.call("pread_device", device, size, offset))

    def blkid(self, device: str) -> dict[str, str]:
        """Return what blkid(8) sees on a device: TYPE, UUID, LABEL, …; nothing when it knows no such content.

        A subvolume is seen as the file system that it is in.
        """
        try:
            return {str(key): str(value) for key, value in self.call("blkid", self.split(device)[0]).items()}
        except GuestfsError:
            return {}

    def ext_parameters(self, device: str) -> dict[str, str]:
        """Return the superblock of an ext file system as `tune2fs -l` words it."""
        return {str(key): str(value) for key, value in self.call("tune2fs_l", device).items()}

    def split(self, mountable: str) -> tuple[str, str | None]:
        """Return the device of what `filesystems` returns, and the path of the btrfs subvolume if it is one."""
        if not mountable.startswith("btrfsvol:"):
            return mountable, None
        return str(self.call("mountable_device", mountable)), str(self.call("mountable_subvolume", mountable))

    def mount_readonly(self, device: str, directory: str = "/", *, journal: bool = False, options: str = "") -> None:
        """Mount a file system inside of the appliance; a `journal` (ext3, ext4) is left as it is, not replayed.

        `options` are further ones, such as subvol=NAME.
        """
        words = ["ro", *(["noload"] if journal else []), *([options] if options else [])]
        self.call("mount_options", ",".join(words), device, directory)

    def make_mount_point(self, directory: str) -> None:
        """Make a directory in the appliance, where no root of an image is mounted, to mount something on."""
        self.call("mkmountpoint", directory)

    def mount(self, device: str, directory: str = "/", options: str = "") -> None:
        """Mount a file system inside of the appliance to be written to; the disks must have been opened so."""
        self.call("mount_options", options, device, directory)

    def unpack(self, inside: str, outside: Path, target: str) -> None:
        """Unpack a tar into a mounted directory: owners as numbers, modes, times, xattrs, device nodes.

        The tar is the file `inside` of another mounted file system, and `outside` on the host: the appliance's own
        tar needs 40 % of the time of libguestfs' upload under TCG, but only `debug sh` starts it, and who builds
        libguestfs can leave that out. The three names are given to a shell: the caller's own, of plain letters.
        """
        words = ["tar", "-x", "--numeric-owner", "-p", "--xattrs", "--xattrs-include='*'"]
        try:
            self.call("debug", "sh", [*words, "-C", f"/sysroot{target}", "-f", f"/sysroot{inside}"])
        except GuestfsError as refused:
            if "tar:" in refused.problem.what:
                raise
            self.call("tar_in", str(outside), target, xattrs=True)

    def available(self, directory: str = "/") -> int:
        """Return the bytes that a normal user of the file system mounted on `directory` has (df's "Available")."""
        seen = self.call("statvfs", directory)
        return int(seen["bavail"]) * int(seen["frsize"])

    def subvolumes(self) -> tuple[str, ...]:
        """Return the paths of all subvolumes of the btrfs mounted on /; none for another file system."""
        try:
            found = self.call("btrfs_subvolume_list", "/")
        except GuestfsError:
            return ()
        return tuple(str(entry["btrfssubvolume_path"]).strip("/") for entry in found)

    def filesystems(self) -> dict[str, str]:
        """Return what can be mounted and what is known not to be: device → type (`ext4`, `swap`, `LVM2_member`, …)."""
        return {str(device): str(kind) for device, kind in self.call("list_filesystems").items()}

    def has(self, feature: str) -> bool:
        """Return whether this appliance has a group of functions, such as `lvm2` (guestfs(3), AVAILABILITY)."""
        return bool(self.call("feature_available", [feature]))

    def lay(self, tar: Path, directory: str = "/") -> None:
        """Unpack a tar of the host into a mounted directory. No name in it may lead through a link of the image."""
        self.call("tar_in", str(tar), directory, xattrs=True)

    def apparent_size(self) -> int | None:
        """Return how many bytes all mounted files have, holes included; None where this appliance does not tell."""
        try:
            said = str(self.call("debug", "sh", ["du", "-s", "-b", "/sysroot"])).split()
        except GuestfsError:
            return None
        return int(said[0]) if said and said[0].isdecimal() else None

    def larger_than(self, size: int) -> str | None:
        """Return the path of a mounted file of more than `size` bytes; None if there is none, or it is not told."""
        words = ["find", "/sysroot", "-type", "f", "-size", f"+{size}c", "-print", "-quit"]
        try:
            said = str(self.call("debug", "sh", words)).strip()
        except GuestfsError:
            return None
        return said.removeprefix("/sysroot") or None

    def take(self, directory: str, tar: Path, exclude: Sequence[str] = ()) -> None:
        """Write all below a mounted directory to a tar on the host: owners as numbers, xattrs, device nodes."""
        self.call("tar_out", directory, str(tar), numericowner=True, xattrs=True, excludes=list(exclude))

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file of at most some MiB: a new one, or over an old one, which keeps its owner and mode."""
        self.call("write", path, {"base64": base64.b64encode(content).decode("ascii")})

    def remove(self, path: str) -> None:
        """Remove a file or link; it is not an error if there is none."""
        self.call("rm_f", path)

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link, or a directory with all below it; it is not an error if there is none."""
        self.call("rm_rf", path)

    def run(self, script: str, within: float) -> tuple[int, str]:
        """Run a script with the mounted system's own /bin/sh; return its status and the end of what it printed.

        It runs in the appliance, as root of the mounted system, which has /dev, /proc and /sys meanwhile.
        """
        # The appliance's /dev is in memory: what is printed takes no room in the image.
        words = f"(exec </dev/null >{_PRINTED} 2>&1\n{script}\n)\necho $?\n"
        status = str(self._worker.ask({"call": "sh", "args": [words]}, within)).strip()
        try:
            kept = ["tail", "-c", "60000", _PRINTED, "|", "tr", "-cd", r"'\11\12\40-\176'", ";", "rm", "-f", _PRINTED]
            printed = str(self.call("debug", "sh", kept))
        except GuestfsError:
            # Who builds libguestfs can leave `debug` out.
            printed = ""
        return int(status) if status.isdigit() else 1, printed

    def network(self, on: bool) -> None:
        """Give or take the network of an appliance that was opened with one."""
        # A link that goes down takes its routes along.
        take = f"ip route show default > {_ROUTE}; ip link set eth0 down"
        give = f"ip link set eth0 up; ip route replace $(cat {_ROUTE})"
        self.call("debug", "sh", (give if on else take).split())

    def unmount_all(self) -> None:
        """Unmount everything."""
        self.call("umount_all")

    def sync(self) -> None:
        """Write to the disks what the appliance still holds in memory."""
        self.call("sync")

    def trim(self, directory: str) -> None:
        """Tell the disk what the file system mounted on `directory` does not use; some kinds have no way to (vfat)."""
        self.call("fstrim", directory)

    def shut_down(self) -> None:
        """End the appliance, after which all is on the disks."""
        self.call("shutdown")

    def partition_table(self, device: str) -> str:
        """Return the kind of a disk's partition table: gpt, msdos, …"""
        return str(self.call("part_get_parttype", device))

    def partition_entries(self, device: str) -> list[Partition]:
        """Return the partitions of a disk as its table lists them."""
        return [
            Partition(int(entry["part_num"]), int(entry["part_start"]), int(entry["part_end"]))
            for entry in self.call("part_list", device)
        ]

    def extend_gpt(self, device: str) -> None:
        """Move the copy of a GPT to the end of a disk that became larger."""
        self.call("part_expand_gpt", device)

    def resize_partition(self, device: str, number: int, end: int) -> None:
        """Have a partition end with the sector `end`."""
        self.call("part_resize", device, number, end)

    def grow_ext(self, device: str) -> None:
        """Check an ext file system, which is not mounted, and enlarge it to the size of its device."""
        self.call("e2fsck", device, correct=True)
        self.call("resize2fs", device)

    def grow_mounted(self, kind: Literal["xfs", "btrfs"], directory: str) -> None:
        """Enlarge the file system mounted on `directory` to the size of its device."""
        self.call("xfs_growfs" if kind == "xfs" else "btrfs_filesystem_resize", directory)

    def exists(self, path: str) -> bool:
        """Return whether there is something at a path, links followed inside of the image."""
        return bool(self.call("exists", path))

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory; nothing when it is not there."""
        try:
            return [str(name) for name in self.call("names", directory)]
        except GuestfsError:
            return []

    def lstat(self, path: str) -> Stat | None:
        """Return what is at a path, links not followed, or None."""
        return self._stat("lstatns", path)

    def stat(self, path: str) -> Stat | None:
        """Return what is at a path, links followed inside of the image, or None."""
        return self._stat("statns", path)

    def _stat(self, call: str, path: str) -> Stat | None:
        try:
            seen = self.call(call, path)
        except GuestfsError:
            return None
        return Stat(seen["st_mode"], seen["st_uid"], seen["st_gid"], seen["st_size"])

    def read(self, path: str, size: int, offset: int = 0) -> bytes:
        """Return at most `size` bytes of a file."""
        parts = []
        while size > 0:
            part = bytes(self.call("pread", path, min(size, _CHUNK), offset))
            if not part:
                break
            parts.append(part)
            size -= len(part)
            offset += len(part)
        return b"".join(parts)

    def download(self, path: str, target: Path) -> None:
        """Copy a file of the image to `target` on the host, links followed inside of the image."""
        self.call("download", path, str(target))

    def readlink(self, path: str) -> str:
        """Return where a symbolic link points."""
        return str(self.call("readlink", path))
