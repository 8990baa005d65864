"""The typed calls to libguestfs for disks that are open.

Everything read from an image is untrusted: bytes, or text in which invalid UTF-8 is replaced.
"""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roost.host.guestfs_process import GuestfsError, Worker

#: libguestfs' messages are at most 4 MiB, and a read must stay below.
_CHUNK = 2 << 20
#: File systems whose journal a read-only mount would replay.
JOURNALLED = frozenset({"ext3", "ext4"})
#: Types of `Guest.filesystems` without readable files.
NO_FILES = frozenset({"swap", "unknown", "", "LVM2_member", "crypto_LUKS", "linux_raid_member", "BitLocker"})
#: The file for the output of a guest's program, and that for the appliance's default route while its network is off.
_PRINTED, _ROUTE = "/dev/.roost-printed", "/run/.roost-route"


@dataclass(frozen=True, slots=True)
class Stat:
    """The result of lstat(2) in an image: its mode with the type, owners, size in bytes."""

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

    Every method raises `GuestfsError` when libguestfs refuses, `ToolError` when it hangs or dies.
    """

    def __init__(self, worker: Worker, *, ordered: bool = False) -> None:
        """Use a worker whose disks are open; `ordered`: the appliance's kernel has the same names for them."""
        self._worker = worker
        self._ordered = ordered
        self._devices: list[str] = []

    def call(self, name: str, *args: object, **options: object) -> Any:
        """Call a function of libguestfs by name; `options` are its optional arguments; see guestfs(3)."""
        return self._worker.ask({"call": name, "args": list(args), "options": options})

    def devices(self) -> list[str]:
        """Return the disks: /dev/sda and so on. They stay the same while they are open."""
        if not self._devices:
            self._devices = [str(device) for device in self.call("list_devices")]
        return list(self._devices)

    def partitions(self) -> list[str]:
        """Return the partitions of all disks that the kernel knows: /dev/sda1 and so on."""
        return [str(partition) for partition in self.call("list_partitions")]

    def device_size(self, device: str) -> int:
        """Return the size of a disk or partition in bytes."""
        return int(self.call("blockdev_getsize64", device))

    def reread_partitions(self, device: str) -> None:
        """Make the kernel read the partition table of one disk again."""
        self.call("blockdev_rereadpt", device)

    def reread(self, written: float) -> None:
        """Make the kernel drop its cache of all disks and read their partition tables again.

        Afterwards what was `written` from outside by then (time.monotonic) is seen, and all partitions exist, even on a
        slow disk. A restored appliance may have done so since.
        """
        if self._worker.adopted is not None and self._worker.adopted >= written:
            return
        if self._ordered:
            # Without KVM a call of libguestfs takes longer than the program that it runs.
            self.call("debug", "sh", ["blockdev", "--flushbufs", "--rereadpt", *self.devices()])
            return
        for device in self.devices():
            self.call("blockdev_flushbufs", device)
            self.reread_partitions(device)

    def read_device(self, device: str, size: int, offset: int) -> bytes:
        """Return bytes of a disk or partition."""
        return bytes(self.call("pread_device", device, size, offset))

    def blkid(self, device: str) -> dict[str, str]:
        """Return what blkid(8) reports for a device: TYPE, UUID, LABEL, …; empty when the content is unknown.

        For a subvolume this is its file system.
        """
        try:
            return {str(key): str(value) for key, value in self.call("blkid", self.split(device)[0]).items()}
        except GuestfsError:
            return {}

    def ext_parameters(self, device: str) -> dict[str, str]:
        """Return the superblock of an ext file system as printed by `tune2fs -l`."""
        return {str(key): str(value) for key, value in self.call("tune2fs_l", device).items()}

    def split(self, mountable: str) -> tuple[str, str | None]:
        """Return the device of an entry of `filesystems`, and the path of the btrfs subvolume if it is one."""
        if not mountable.startswith("btrfsvol:"):
            return mountable, None
        return str(self.call("mountable_device", mountable)), str(self.call("mountable_subvolume", mountable))

    def mount_readonly(self, device: str, directory: str = "/", *, journal: bool = False, options: str = "") -> None:
        """Mount a file system inside the appliance; with `journal` (ext3, ext4) the journal is not replayed.

        `options` are further mount options, such as subvol=NAME.
        """
        words = ["ro", *(["noload"] if journal else []), *([options] if options else [])]
        self.call("mount_options", ",".join(words), device, directory)

    def make_mount_point(self, directory: str) -> None:
        """Make a mount point in the appliance, outside any root of an image."""
        self.call("mkmountpoint", directory)

    def mount(self, device: str, directory: str = "/", options: str = "") -> None:
        """Mount a file system inside the appliance for writing; the disks must have been opened writable."""
        self.call("mount_options", options, device, directory)

    def unpack(self, inside: str, outside: Path, target: str) -> None:
        """Unpack a tar into a mounted directory, with numeric owners, modes, times, xattrs and device nodes.

        The tar is the file `inside` of another mounted file system, and `outside` on the host. The appliance's own tar
        takes 40 % of the time of libguestfs' upload under TCG, but is available only through `debug sh`, which builds
        of libguestfs can leave out. The three names are passed to a shell: they must be the caller's own, of plain
        letters.
        """
        words = ["tar", "-x", "--numeric-owner", "-p", "--xattrs", "--xattrs-include='*'"]
        try:
            self.call("debug", "sh", [*words, "-C", f"/sysroot{target}", "-f", f"/sysroot{inside}"])
        except GuestfsError as refused:
            if "tar:" in refused.problem.what:
                raise
            self.call("tar_in", str(outside), target, xattrs=True)

    def available(self, directory: str = "/") -> int:
        """Return the bytes available to a normal user on the file system mounted on `directory` (df's "Available")."""
        seen = self.call("statvfs", directory)
        return int(seen["bavail"]) * int(seen["frsize"])

    def subvolumes(self) -> tuple[str, ...]:
        """Return the paths of all subvolumes of the btrfs mounted on /; empty for another file system."""
        try:
            found = self.call("btrfs_subvolume_list", "/")
        except GuestfsError:
            return ()
        return tuple(str(entry["btrfssubvolume_path"]).strip("/") for entry in found)

    def filesystems(self) -> dict[str, str]:
        """Return file systems, and what is known not to be one: device → type (`ext4`, `swap`, `LVM2_member`, …)."""
        return {str(device): str(kind) for device, kind in self.call("list_filesystems").items()}

    def has(self, feature: str) -> bool:
        """Return whether this appliance has a group of functions, such as `lvm2` (guestfs(3), AVAILABILITY)."""
        return bool(self.call("feature_available", [feature]))

    def lay(self, tar: Path, directory: str = "/") -> None:
        """Unpack a tar of the host into a mounted directory. Its names must not lead through a link of the image."""
        self.call("tar_in", str(tar), directory, xattrs=True)

    def apparent_size(self) -> int | None:
        """Return the total size of all mounted files, holes included; None where this appliance cannot measure it."""
        try:
            output = str(self.call("debug", "sh", ["du", "-s", "-b", "/sysroot"])).split()
        except GuestfsError:
            return None
        return int(output[0]) if output and output[0].isdecimal() else None

    def larger_than(self, size: int) -> str | None:
        """Return the path of a mounted file of more than `size` bytes; None if there is none, or it is unknown."""
        words = ["find", "/sysroot", "-type", "f", "-size", f"+{size}c", "-print", "-quit"]
        try:
            output = str(self.call("debug", "sh", words)).strip()
        except GuestfsError:
            return None
        return output.removeprefix("/sysroot") or None

    def take(self, directory: str, tar: Path, exclude: Sequence[str] = ()) -> None:
        """Write everything below a mounted directory to a tar on the host: numeric owners, xattrs, device nodes."""
        self.call("tar_out", directory, str(tar), numericowner=True, xattrs=True, excludes=list(exclude))

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file of at most some MiB; an existing file keeps its owner and mode."""
        self.call("write", path, {"base64": base64.b64encode(content).decode("ascii")})

    def remove(self, path: str) -> None:
        """Remove a file or link, if it exists."""
        self.call("rm_f", path)

    def remove_tree(self, path: str) -> None:
        """Remove a file, a link, or a directory with its content, if it exists."""
        self.call("rm_rf", path)

    def run(self, script: str, within: float) -> tuple[int, str]:
        """Run a script with the mounted system's own /bin/sh; return its status and the end of its output.

        It runs in the appliance, as root of the mounted system, with /dev, /proc and /sys mounted.
        """
        # The appliance's /dev is in memory: the output takes no space in the image.
        words = f"(exec </dev/null >{_PRINTED} 2>&1\n{script}\n)\necho $?\n"
        status = str(self._worker.ask({"call": "sh", "args": [words]}, within)).strip()
        try:
            kept = ["tail", "-c", "60000", _PRINTED, "|", "tr", "-cd", r"'\11\12\40-\176'", ";", "rm", "-f", _PRINTED]
            printed = str(self.call("debug", "sh", kept))
        except GuestfsError:
            # Builds of libguestfs can leave `debug` out.
            printed = ""
        return int(status) if status.isdigit() else 1, printed

    def network(self, on: bool) -> None:
        """Turn the network of an appliance that was opened with one on or off."""
        # A link that goes down loses its routes.
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
        """Discard unused blocks of the file system mounted on `directory`; some types do not support it (vfat)."""
        self.call("fstrim", directory)

    def shut_down(self) -> None:
        """End the appliance, after which everything is on the disks."""
        self.call("shutdown")

    def partition_table(self, device: str) -> str:
        """Return the type of a disk's partition table: gpt, msdos, …"""
        return str(self.call("part_get_parttype", device))

    def partition_entries(self, device: str) -> list[Partition]:
        """Return the partitions of a disk as listed by its table."""
        return [
            Partition(int(entry["part_num"]), int(entry["part_start"]), int(entry["part_end"]))
            for entry in self.call("part_list", device)
        ]

    def extend_gpt(self, device: str) -> None:
        """Move the backup of a GPT to the end of a disk that was enlarged."""
        self.call("part_expand_gpt", device)

    def resize_partition(self, device: str, number: int, end: int) -> None:
        """Make a partition end with the sector `end`."""
        self.call("part_resize", device, number, end)

    def grow_ext(self, device: str) -> None:
        """Check an unmounted ext file system and enlarge it to the size of its device."""
        self.call("e2fsck", device, correct=True)
        self.call("resize2fs", device)

    def grow_mounted(self, kind: Literal["xfs", "btrfs"], directory: str) -> None:
        """Enlarge the file system mounted on `directory` to the size of its device."""
        self.call("xfs_growfs" if kind == "xfs" else "btrfs_filesystem_resize", directory)

    def exists(self, path: str) -> bool:
        """Return whether a path exists, links followed inside the image."""
        return bool(self.call("exists", path))

    def names(self, directory: str) -> list[str]:
        """Return the names in a directory; empty when it does not exist."""
        try:
            return [str(name) for name in self.call("names", directory)]
        except GuestfsError:
            return []

    def lstat(self, path: str) -> Stat | None:
        """Return the status of a path, links not followed, or None."""
        return self._stat("lstatns", path)

    def stat(self, path: str) -> Stat | None:
        """Return the status of a path, links followed inside the image, or None."""
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
        """Copy a file of the image to `target` on the host, links followed inside the image."""
        self.call("download", path, str(target))

    def readlink(self, path: str) -> str:
        """Return the target of a symbolic link."""
        return str(self.call("readlink", path))
