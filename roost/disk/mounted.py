"""xfs and btrfs: made by their mkfs in a file, filled by the Linux of libguestfs' appliance, checked.

No tool of the host can fill them with owners, links, attributes and device nodes preserved. The content is passed as a
tar inside a small ext4. The kernel that unpacks it writes change times, inode generations and, on btrfs, its own
identifiers: two builds have the same files but not the same bytes. Everything else is fixed: UUID, label, modification
times, order of files, and the appliance's clock, which starts at the image's epoch.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from dataclasses import replace
from pathlib import Path

from roost.disk.ext import FileSystemSource
from roost.disk.layout import MiB
from roost.disk.limits import LEAST
from roost.disk.measure import BLOCK, Entry
from roost.disk.own_file import FileSystemFile, FileSystemSpec
from roost.disk.tools import Tools
from roost.errors import HostError, ImageError, ToolError
from roost.host import guestfs, process
from roost.host.guestfs import GuestfsError
from roost.host.namespace import Namespace
from roost.recipe.model import FileSystem
from roost.recipe.quantities import format_size

FILESYSTEMS: frozenset[FileSystem] = frozenset({"xfs", "btrfs"})
#: Below this size btrfs mixes data and metadata: separate, one would be full long before the other (mkfs.btrfs(8)).
MIXED = 1024 * MiB
ATTEMPTS = 4
DEADLINE = 1800.0
#: Features newer than GRUB 2.06 that it refuses to read, by mkfs.xfs' option.
XFS_UNREADABLE = {"-i": ("nrext64", "exchange"), "-n": ("parent",), "-m": ("metadir",)}
#: The appliance's mount points for the file system and for the source, and the name of the tar.
TARGET, SOURCE, TAR = "/target", "/source", "tree.tar"
FULL = "No space left on device"


def estimate(wanted: FileSystemSpec) -> int:
    """Return the bytes that a file system needs for its content and the promised free space, rounded generously."""
    data = wanted.content.blocks * BLOCK
    inodes = wanted.content.inodes
    if wanted.filesystem == "xfs":
        # Inodes of 512 bytes; a log of 64 MiB or 1/2048; the kernel's reserve: 5 %, at most 32 MiB, and B-trees.
        body = data + inodes * 640 + wanted.free
        needed = body + max(64 * MiB, body // 2048) + min(32 * MiB, body // 20) + body // 50 + 8 * MiB
    else:
        # Items for names, inodes, extents and checksums; the global reserve and space for copying the trees.
        body = data + data // 256 + inodes * 1536 + wanted.free
        needed = body + min(512 * MiB, max(16 * MiB, body // 8))
    return max(LEAST[wanted.filesystem], _whole(needed))


def make(wanted: FileSystemSpec, path: Path, tools: Tools) -> FileSystemFile:
    """Make and fill the file system in the new file `path`.

    Raises `ImageError` when the content does not fit its size, `HostError` when a tool is missing.
    """
    carrier = path.with_name(f"{path.name}.carrier")
    size = _whole(wanted.size) if wanted.size is not None else estimate(wanted)
    try:
        if wanted.source is not None:
            carrier.mkdir()
            pack(wanted.source, wanted.entries, carrier / TAR, tools.namespace, tools.log("pack"))
            _carry(carrier, tools.log_dir)
        for _ in range(ATTEMPTS):
            _mkfs(wanted, path, size, tools.log_dir)
            if wanted.source is None and wanted.size is not None:
                return FileSystemFile(path, size, None)
            free = _fill(wanted, path, carrier, tools)
            if free is not None:
                _check(wanted, path, tools.log_dir)
                if wanted.size is not None or free >= wanted.free:
                    return FileSystemFile(path, size, free)
            elif wanted.size is not None:
                break
            size = _whole(size + (wanted.free - free if free is not None else size // 4) * 9 // 8 + 4 * MiB)
    finally:
        shutil.rmtree(carrier, ignore_errors=True)
        _image_of(carrier).unlink(missing_ok=True)
    needed = format_size(estimate(replace(wanted, size=None)))
    raise ImageError(
        f"the content does not fit into {wanted.filesystem} of {format_size(size)}",
        hint=f"make size at least {needed}, or write free instead" if wanted.size else "write size instead of free",
        log=tools.log("libguestfs-fill"),
    )


def pack(source: FileSystemSource, entries: tuple[Entry, ...], tar: Path, namespace: Namespace, log: Path) -> None:
    """Write the entries of a source as a tar, sorted, with numeric owners, followed by its device nodes."""
    names = sorted(entry.path for entry in entries)
    process.run(
        namespace.argv(
            [
                "tar", "--create", "--format=pax", "--pax-option=delete=atime,delete=ctime", "--numeric-owner",
                "--xattrs", "--xattrs-include=*", "--no-recursion", "--sparse", "--null", "--verbatim-files-from",
                "--directory", source.directory, "--file", tar, "--files-from=-",
            ]
        ),
        deadline=DEADLINE,
        stdin=b"".join((b"./" + name if name else b".") + b"\0" for name in names),
        log=log,
        what="cannot pack the tree",
    )  # fmt: skip
    # mknod(2) fails in a user namespace, so trees have no device nodes: they exist only in the tar.
    kinds = {"c": tarfile.CHRTYPE, "b": tarfile.BLKTYPE, "p": tarfile.FIFOTYPE}
    with tarfile.open(tar, "a", format=tarfile.PAX_FORMAT) as archive:
        for device in source.devices:
            entry = tarfile.TarInfo(f".{device.path}")
            entry.type, entry.mode, entry.mtime = kinds[device.type], device.mode, source.root.mtime
            entry.uid, entry.gid = device.uid, device.gid
            entry.devmajor, entry.devminor = device.major, device.minor
            archive.addfile(entry)


def _image_of(carrier: Path) -> Path:
    return carrier.with_suffix(".image")


def _carry(carrier: Path, log_dir: Path) -> None:
    """Write the directory `carrier`, which holds the tar, as an ext4, so that the appliance can read it as a disk."""
    size = _whole((carrier / TAR).stat().st_size) // MiB
    process.run(
        ["mke2fs", "-q", "-F", "-t", "ext4", "-O", "^has_journal", "-m", "0", "-N", "16", "-d", carrier,
         _image_of(carrier), f"{size + size // 32 + 4}M"],
        deadline=DEADLINE,
        log=log_dir / "mke2fs.log",
        what="cannot pack the tree",
    )  # fmt: skip


def _whole(size: int) -> int:
    return -(-size // MiB) * MiB


def _mkfs(wanted: FileSystemSpec, path: Path, size: int, log_dir: Path) -> None:
    path.unlink(missing_ok=True)
    with path.open("xb") as file:
        file.truncate(size)
    argv = xfs_argv(wanted, path, _usage()) if wanted.filesystem == "xfs" else btrfs_argv(wanted, path, size)
    process.run(
        argv,
        deadline=120,
        log=log_dir / f"mkfs.{wanted.filesystem}.log",
        what=f"cannot make the {wanted.filesystem} file system",
    )


def _usage() -> str:
    """Return mkfs.xfs' usage text: its options differ from release to release."""
    process.require("mkfs.xfs", "xfsprogs")
    done = process.run(["sh", "-c", "exec mkfs.xfs 2>&1"], deadline=20, capture=True, check=False)
    return done.text


def xfs_argv(wanted: FileSystemSpec, path: Path, usage: str) -> list[str]:
    """Return mkfs.xfs' command line; features that GRUB 2.06 cannot read are off, as far as `usage` lists them."""
    options = {"-m": [f"uuid={wanted.uuid}", "crc=1", "finobt=1"], "-i": [], "-n": []}
    for letter, names in XFS_UNREADABLE.items():
        options[letter] += [f"{name}=0" for name in names if re.search(rf"\b{name}=", usage)]
    argv = ["mkfs.xfs", "-q", "-f", "-K"]
    for letter, values in options.items():
        if values:
            argv += [letter, ",".join(values)]
    if wanted.label:
        argv += ["-L", wanted.label]
    return [*argv, str(path)]


def btrfs_argv(wanted: FileSystemSpec, path: Path, size: int) -> list[str]:
    """Return mkfs.btrfs' command line: a single copy of everything, since the host protects a virtual disk."""
    process.require("mkfs.btrfs", "btrfs-progs")
    argv = ["mkfs.btrfs", "-q", "-f", "-K", "-U", str(wanted.uuid), "-d", "single", "-m", "single"]
    if size < MIXED:
        argv.append("--mixed")
    if wanted.label:
        argv += ["-L", wanted.label]
    return [*argv, str(path)]


def _fill(wanted: FileSystemSpec, path: Path, carrier: Path, tools: Tools) -> int | None:
    """Unpack the content; return the bytes that are then free, or None when it does not fit."""
    with guestfs.open_writable(
        [(path, "raw")],
        accelerator=tools.accelerator.kind,
        log=tools.log("libguestfs-fill"),
        deadline=DEADLINE,
        readonly=[(_image_of(carrier), "raw")] if wanted.source is not None else [],
        equipment=guestfs.Equipment(clock=wanted.epoch),
    ) as guest:
        device, *carriers = guest.devices()
        guest.make_mount_point(TARGET)
        guest.mount(device, TARGET)
        for one in carriers:
            guest.make_mount_point(SOURCE)
            guest.mount_readonly(one, SOURCE)
            try:
                guest.unpack(f"{SOURCE}/{TAR}", carrier / TAR, TARGET)
            except GuestfsError as refused:
                if FULL in refused.problem.what:
                    return None
                raise
        # Delayed writes allocate their space late.
        guest.sync()
        return guest.available(TARGET)


def _check(wanted: FileSystemSpec, path: Path, log_dir: Path) -> None:
    """Raise unless the file system is consistent and clean."""
    file = str(path)
    argv = (
        ["xfs_repair", "-n", "-f", file] if wanted.filesystem == "xfs" else ["btrfs", "check", "--readonly", "-p", file]
    )
    try:
        process.run(argv, deadline=DEADLINE, log=log_dir / f"check.{wanted.filesystem}.log")
    except ToolError as error:
        raise HostError(
            f"the {wanted.filesystem} that libguestfs wrote is not consistent",
            hint="is the host's disk full?",
            log=error.log,
            tail=error.tail,
        ) from error
