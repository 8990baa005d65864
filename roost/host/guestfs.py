"""The one door to libguestfs: disks are opened in a worker process, and every call has a deadline.

This process never loads libguestfs. A hang, a crash or a kill ends the worker and its QEMU with it, and what they
left in temporary folders is removed. All that comes out of an image is data of strangers: bytes, or text in which
everything that is not UTF-8 is replaced.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roost.errors import HostError, ImageError, ToolError
from roost.host import appliance, paths, process, temporary

#: MiB of memory for the appliance; file systems of any size are read with it.
MEMORY = 512
_WORKER = Path(__file__).with_name("guestfs_worker.py")
#: libguestfs' messages are at most 4 MiB, a read must stay below.
_CHUNK = 2 << 20
#: Where libguestfs' sockets lie: a path must stay under 108 bytes (unix(7)), whatever TMPDIR says.
_SHORT = Path("/tmp")
#: Where the output of a guest's program goes meanwhile.
_PRINTED = "/dev/.roost-printed"
#: The appliance's way out, while its network is taken away.
_ROUTE = "/run/.roost-route"
_SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python")


@dataclass(frozen=True, slots=True)
class Stat:
    """What lstat(2) says of a file in an image: its mode with the type, owners, size in bytes."""

    mode: int
    uid: int
    gid: int
    size: int


class RefusedError(ImageError):
    """libguestfs refused a call: there is no such file, this is no file system, and so on."""


class Guest:
    """Disks opened by libguestfs: /dev/sda, /dev/sdb … in the order given.

    Every method raises `RefusedError` when libguestfs says no, `ToolError` when it hangs or dies.
    """

    def __init__(self, worker: subprocess.Popen[bytes], log: Path, ends: float) -> None:
        self._worker = worker
        self._log = log
        self._ends = ends
        self._pending = b""

    def _line(self, ends: float) -> bytes:
        assert self._worker.stdout is not None
        descriptor = self._worker.stdout.fileno()
        while b"\n" not in self._pending:
            left = ends - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise self._failed("libguestfs did not answer in time", None)
            data = os.read(descriptor, 1 << 20)
            if not data:
                raise self._failed("libguestfs' process ended", self._worker.wait())
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _failed(self, what: str, returncode: int | None) -> ToolError:
        tail = ""
        with contextlib.suppress(OSError):
            tail = process.tail(self._log.read_bytes()[-16384:])
        return ToolError(what, argv=["libguestfs"], returncode=returncode, log=self._log, tail=tail)

    def ask(self, request: dict[str, Any], within: float | None = None) -> Any:
        """Send one request to the worker and return its result; `within` is in seconds."""
        assert self._worker.stdin is not None
        ends = self._ends if within is None else min(self._ends, time.monotonic() + within)
        try:
            self._worker.stdin.write(json.dumps(request).encode() + b"\n")
            self._worker.stdin.flush()
        except BrokenPipeError as error:
            raise self._failed("libguestfs' process ended", self._worker.wait()) from error
        answer = json.loads(self._line(ends))
        if "error" in answer:
            raise RefusedError(f"libguestfs: {process.tail(str(answer['error']), 3)}", log=self._log)
        return _decoded(answer["result"])

    def call(self, name: str, *args: object, **options: object) -> Any:
        """Call a function of libguestfs by its name, `options` are its optional arguments; see guestfs(3)."""
        return self.ask({"call": name, "args": list(args), "options": options})

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
        except RefusedError:
            return {}

    def ext_parameters(self, device: str) -> dict[str, str]:
        """Return the superblock of an ext file system as `tune2fs -l` words it."""
        return {str(key): str(value) for key, value in self.call("tune2fs_l", device).items()}

    def split(self, mountable: str) -> tuple[str, str | None]:
        """Return the device of what `filesystems` returns, and the path of the btrfs subvolume if it is one."""
        if not mountable.startswith("btrfsvol:"):
            return mountable, None
        return str(self.call("mountable_device", mountable)), str(self.call("mountable_subvolume", mountable))

    def mount_readonly(self, device: str, folder: str = "/", *, journal: bool = False, options: str = "") -> None:
        """Mount a file system inside of the appliance; a `journal` (ext3, ext4) is left as it is, not replayed.

        `options` are further ones, such as subvol=NAME.
        """
        words = ["ro", *(["noload"] if journal else []), *([options] if options else [])]
        self.call("mount_options", ",".join(words), device, folder)

    def make_mount_point(self, folder: str) -> None:
        """Make a folder in the appliance, where no root of an image is mounted, to mount something on."""
        self.call("mkmountpoint", folder)

    def mount(self, device: str, folder: str = "/", options: str = "") -> None:
        """Mount a file system inside of the appliance to be written to; the disks must have been opened so."""
        self.call("mount_options", options, device, folder)

    def unpack(self, inside: str, outside: Path, target: str) -> None:
        """Unpack a tar into a mounted folder: owners as numbers, modes, times, xattrs, device nodes.

        The tar is the file `inside` of another mounted file system, and `outside` on the host: the appliance's own
        tar needs 40 % of the time of libguestfs' upload under TCG, but only `debug sh` starts it, and who builds
        libguestfs can leave that out. The three names are given to a shell: the caller's own, of plain letters.
        """
        words = ["tar", "-x", "--numeric-owner", "-p", "--xattrs", "--xattrs-include='*'"]
        try:
            self.call("debug", "sh", [*words, "-C", f"/sysroot{target}", "-f", f"/sysroot{inside}"])
        except RefusedError as refused:
            if "tar:" in refused.problem.what:
                raise
            self.call("tar_in", str(outside), target, xattrs=True)

    def available(self, folder: str = "/") -> int:
        """Return the bytes that a normal user of the file system mounted on `folder` has (df's "Available")."""
        seen = self.call("statvfs", folder)
        return int(seen["bavail"]) * int(seen["frsize"])

    def filesystems(self) -> dict[str, str]:
        """Return what can be mounted and what is known not to be: device → type (`ext4`, `swap`, `LVM2_member`, …)."""
        return {str(device): str(kind) for device, kind in self.call("list_filesystems").items()}

    def has(self, feature: str) -> bool:
        """Return whether this appliance has a group of functions, such as `lvm2` (guestfs(3), AVAILABILITY)."""
        return bool(self.call("feature_available", [feature]))

    def lay(self, tar: Path, folder: str = "/") -> None:
        """Unpack a tar of the host into a mounted folder. No name in it may lead through a link of the image."""
        self.call("tar_in", str(tar), folder, xattrs=True)

    def apparent_size(self) -> int | None:
        """Return how many bytes all mounted files have, holes included; None where this appliance does not tell."""
        try:
            said = str(self.call("debug", "sh", ["du", "-s", "-b", "/sysroot"])).split()
        except RefusedError:
            return None
        return int(said[0]) if said and said[0].isdecimal() else None

    def larger_than(self, size: int) -> str | None:
        """Return the path of a mounted file of more than `size` bytes; None if there is none, or it is not told."""
        words = ["find", "/sysroot", "-type", "f", "-size", f"+{size}c", "-print", "-quit"]
        try:
            said = str(self.call("debug", "sh", words)).strip()
        except RefusedError:
            return None
        return said.removeprefix("/sysroot") or None

    def take(self, folder: str, tar: Path, exclude: Sequence[str] = ()) -> None:
        """Write all below a mounted folder to a tar on the host: owners as numbers, xattrs, device nodes."""
        self.call("tar_out", folder, str(tar), numericowner=True, xattrs=True, excludes=list(exclude))

    def write(self, path: str, content: bytes) -> None:
        """Write a whole file of at most some MiB: a new one, or over an old one, which keeps its owner and mode."""
        self.call("write", path, {"base64": base64.b64encode(content).decode("ascii")})

    def remove(self, path: str) -> None:
        """Remove a file or link; it is no error if there is none."""
        self.call("rm_f", path)

    def remove_folder(self, path: str) -> None:
        """Remove an empty folder."""
        self.call("rmdir", path)

    def run(self, script: str, within: float) -> tuple[int, str]:
        """Run a script with the mounted system's own /bin/sh; return its status and the end of what it printed.

        It runs in the appliance, as root of the mounted system, which has /dev, /proc and /sys meanwhile.
        """
        # The appliance's /dev is in memory: what is printed takes no room in the image.
        words = f"(exec </dev/null >{_PRINTED} 2>&1\n{script}\n)\necho $?\n"
        status = str(self.ask({"call": "sh", "args": [words]}, within)).strip()
        try:
            kept = ["tail", "-c", "60000", _PRINTED, "|", "tr", "-cd", r"'\11\12\40-\176'", ";", "rm", "-f", _PRINTED]
            printed = str(self.call("debug", "sh", kept))
        except RefusedError:
            # Who builds libguestfs can leave `debug` out.
            printed = ""
        return int(status) if status.isdigit() else 1, printed

    def network(self, on: bool) -> None:
        """Give or take the network of an appliance that was opened with one."""
        # A link that goes down takes its routes along.
        take = f"ip route show default > {_ROUTE}; ip link set eth0 down"
        give = f"ip link set eth0 up; ip route replace $(cat {_ROUTE})"
        script = give if on else take
        self.call("debug", "sh", script.split())

    def unmount_all(self) -> None:
        """Unmount everything."""
        self.call("umount_all")

    def exists(self, path: str) -> bool:
        """Return whether there is something at a path, links followed inside of the image."""
        return bool(self.call("exists", path))

    def names(self, folder: str) -> list[str]:
        """Return the names in a folder; nothing when it is not there."""
        try:
            return [str(name) for name in self.call("names", folder)]
        except RefusedError:
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
        except RefusedError:
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

    def readlink(self, path: str) -> str:
        """Return where a symbolic link points."""
        return str(self.call("readlink", path))


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"])
        return {key: _decoded(entry) for key, entry in value.items()}
    return [_decoded(entry) for entry in value] if isinstance(value, list) else value


def interpreter() -> str:
    """Return the Python that has libguestfs' module: this one, or the system's. Raises `HostError`."""
    if importlib.util.find_spec("guestfs") is not None:
        return sys.executable
    for python in _SYSTEM_PYTHONS:
        if Path(python).exists():
            found = process.run([python, "-c", "import guestfs"], deadline=20, check=False)
            if found.returncode == 0:
                return python
    raise HostError("libguestfs' Python module is not installed", hint="apt-get install python3-guestfs")


@contextmanager
def open_readonly(
    images: Sequence[tuple[Path, str]],
    *,
    accelerator: Literal["kvm", "tcg"],
    log: Path,
    deadline: float = 300.0,
    stock: bool = False,
) -> Iterator[Guest]:
    """Yield the disks of `images` ((path, format) each), opened so that nothing in them can change.

    `deadline` is for all of it, in seconds. The appliance boots under KVM only if `accelerator` says that this was
    proven. A quick appliance that does not start is given up for the stock one, whose whole boot is then in `log`;
    `stock` asks for that one, which also knows LVM.
    """
    for image, _ in images:
        if not os.access(image, os.R_OK):
            raise ImageError(f"{image} does not exist or cannot be read")
    request = {"disks": _disks(images, readonly=True), "memory": MEMORY, "clock": None, "network": False}
    with _opened(request, accelerator, log, deadline, stock=stock) as guest:
        yield guest


@contextmanager
def open_writable(
    images: Sequence[tuple[Path, str]],
    *,
    accelerator: Literal["kvm", "tcg"],
    log: Path,
    deadline: float = 1800.0,
    readonly: Sequence[tuple[Path, str]] = (),
    clock: int | None = None,
    stock: bool = False,
    network: bool = False,
) -> Iterator[Guest]:
    """Yield the disks of `images` as `open_readonly` does, but to be written to: files of roost's own, never a source.

    Those of `readonly` follow them, and cannot be written. What is written is on the disks when the block is left
    without an exception. `clock` (seconds since 1970) is where the appliance's clock starts, None is the present.
    `stock` asks for libguestfs' whole appliance, which also knows LVM; `network`, which needs it, for a network.
    """
    for image, _ in images:
        if not os.access(image, os.R_OK | os.W_OK):
            raise ImageError(f"{image} does not exist or cannot be written")
    disks = _disks(images, readonly=False) + _disks(readonly, readonly=True)
    request = {"disks": disks, "memory": MEMORY, "clock": clock, "network": network}
    with _opened(request, accelerator, log, deadline, stock=stock or network) as guest:
        yield guest
        guest.unmount_all()
        guest.call("shutdown")


def _disks(images: Sequence[tuple[Path, str]], *, readonly: bool) -> list[dict[str, Any]]:
    return [
        {"path": str(image.absolute()), "format": image_format, "readonly": readonly} for image, image_format in images
    ]


@contextmanager
def _opened(request: dict[str, Any], accelerator: str, log: Path, deadline: float, *, stock: bool) -> Iterator[Guest]:
    ends = time.monotonic() + deadline
    with contextlib.ExitStack() as stack:
        quick = None if stock else appliance.path(log)
        guest = None
        if quick is not None:
            attempt = contextlib.ExitStack()
            try:
                guest = attempt.enter_context(_worker(quick, accelerator, log, ends))
                guest.ask({**request, "verbose": False}, within=deadline / 3)
                stack.enter_context(attempt)
            except (RefusedError, ToolError):
                guest = None
                attempt.close()
            except BaseException:
                attempt.close()
                raise
        if guest is None:
            guest = stack.enter_context(_worker(None, accelerator, log, ends))
            _launch_stock(guest, request, log)
            if quick is not None:
                # The stock one starts with these disks, so it was the appliance's fault.
                appliance.give_up(quick)
        yield guest


def _launch_stock(guest: Guest, request: dict[str, Any], log: Path) -> None:
    try:
        guest.ask({**request, "verbose": True})
    except RefusedError as refused:
        tail = process.tail(log.read_bytes()[-16384:]) if log.exists() else ""
        raise HostError(
            "libguestfs does not start",
            hint="`libguestfs-test-tool` shows why; `inv doctor` says what is missing",
            log=log,
            tail=tail,
        ) from refused


@contextmanager
def _worker(fixed: Path | None, accelerator: str, log: Path, ends: float) -> Iterator[Guest]:
    """Yield a worker that has not opened anything yet; it, its QEMU and their temporary files are gone afterwards."""
    cache = paths.cache_root() / "libguestfs"
    cache.mkdir(parents=True, exist_ok=True)
    _sweep()
    with temporary.directory("guestfs", _SHORT) as own:
        env = {
            "LIBGUESTFS_BACKEND": "direct",
            "LIBGUESTFS_BACKEND_SETTINGS": "" if accelerator == "kvm" else "force_tcg",
            "LIBGUESTFS_CACHEDIR": str(cache),
            "LIBGUESTFS_TMPDIR": str(own),
            "XDG_RUNTIME_DIR": str(own),
        }
        if fixed is not None:
            env["LIBGUESTFS_PATH"] = str(fixed)
        left: list[Path] = []
        try:
            with process.spawn(
                [interpreter(), "-I", _WORKER], log=log, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as worker:
                try:
                    yield Guest(worker, log, ends)
                    _end(worker, ends)
                finally:
                    left = _socket_folders(worker.pid)
        finally:
            for folder in left:
                shutil.rmtree(folder, ignore_errors=True)


def _end(worker: subprocess.Popen[bytes], ends: float) -> None:
    """Let the worker shut libguestfs down; what does not end in time is killed by its caller."""
    if worker.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(min(30.0, max(0.0, ends - time.monotonic())))


def _socket_folders(session: int) -> list[Path]:
    """Return the socket folders of a worker's QEMU. For root they lie in /tmp, and only a clean end removes them."""
    folders = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) == session:
                    words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                    folders.update(re.findall(rf"path=({_SHORT}/libguestfs\w{{6}})/", words))
    return [Path(folder) for folder in folders]


def _sweep() -> None:
    """Remove libguestfs' own directories of root's that nobody said whose they are, an hour after the last use.

    Those that roost's workers made go with the worker's directory (`temporary.ELSEWHERE`).
    """
    with contextlib.suppress(OSError):
        sockets = Path("/proc/net/unix").read_text()
        for folder in _SHORT.iterdir():
            if not re.fullmatch(r"libguestfs\w{6}", folder.name):
                continue
            with contextlib.suppress(OSError):
                status = folder.lstat()
                if status.st_uid != os.geteuid() or not folder.is_dir() or folder.is_symlink():
                    continue
                if time.time() - status.st_mtime > 3600 and str(folder) not in sockets:
                    shutil.rmtree(folder, ignore_errors=True)
