"""ext2, ext3 and ext4, written by mke2fs directly into a disk file at their offset. The same bytes every time.

mke2fs copies the status-change time of each inode and the host's access times; both are set afterwards, by one debugfs
script over inode numbers, so that the script never contains a name of the tree. Device nodes are written there too.
Releases of e2fsprogs differ in which block bitmaps they leave unwritten: all are written, and the backups are updated
(`ext_backups`). No blocks are reserved for root: all free space is available to everyone.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from uuid import UUID

from roost.disk import ext_backups
from roost.disk.ext_space import BLOCK_UNINIT, Space, read_space, target
from roost.disk.geometry import Geometry, kernel_reserve
from roost.disk.layout import Extent
from roost.disk.measure import BLOCK, Entry
from roost.disk.tools import Tools
from roost.disk.tree import DeviceNode
from roost.errors import ImageError, RoostError, ToolError
from roost.host import process

CONFIGURATION = Path(__file__).with_name("mke2fs.conf")
ROOT_INODE = 2
FIRST_INODE = 11
DEVICE_PATH = re.compile(r"(/[A-Za-z0-9._+-]+)+")
#: File type bits of an inode's mode (stat(2)).
TYPE_BITS = {"c": 0o020000, "b": 0o060000, "p": 0o010000}
#: Messages of mke2fs when the content or its inodes do not fit.
FULL = ("Could not allocate", "too big for a", "Not enough space to build")

#: Binds an empty directory over each mount point, in the command's own mount namespace, then becomes mke2fs. Arguments:
#: the empty directory, the number of mount points, the mount points, the command.
HIDE = (
    'empty=$1; count=$2; shift 2; while [ "$count" -gt 0 ]; do mount --bind -- "$empty" "$1" || exit 1;'
    ' shift; count=$((count - 1)); done; exec "$@"'
)


class DoesNotFitError(RoostError):
    """The content does not fit into the file system."""


@dataclass(frozen=True, slots=True)
class Identity:
    """The identity of a file system: UUID, the seed of its directory hashes, label, and its time (seconds)."""

    uuid: UUID
    hash_seed: UUID
    label: str | None
    epoch: int


@dataclass(frozen=True, slots=True)
class FileSystemSource:
    """The content of a file system: a directory, the attributes of the root directory, device nodes.

    `hidden` are mount points of other file systems below `directory` (absolute on the host), which stay empty; `empty`
    is the directory that is bound over them.
    """

    directory: Path
    root: Entry
    devices: tuple[DeviceNode, ...] = ()
    hidden: tuple[Path, ...] = ()
    empty: Path | None = None


def mke2fs_argv(file: str, at: Extent, shape: Geometry, identity: Identity, source: Path | None) -> list[str]:
    """Return mke2fs' command line for a file system in `file`, inside the range `at`."""
    options = [
        f"hash_seed={identity.hash_seed}",
        "root_owner=0:0",
        # The disk file is new and sparse: zeros need not be written, now or by the guest.
        "assume_storage_prezeroed=1",
        "nodiscard",
    ]
    if at.offset:
        options.append(f"offset={at.offset}")
    argv = ["mke2fs", "-q", "-F", "-t", shape.filesystem, "-T", "roost", "-b", str(BLOCK), "-m", "0"]
    argv += ["-N", str(shape.inodes), "-U", str(identity.uuid), "-E", ",".join(options)]
    if shape.journal:
        argv += ["-J", f"size={shape.journal}"]
    elif shape.filesystem != "ext2":
        argv += ["-O", "^has_journal"]
    if identity.label:
        argv += ["-L", identity.label]
    if source is not None:
        argv += ["-d", str(source)]
    return [*argv, file, str(shape.blocks)]


def write(
    disk: Path,
    at: Extent,
    shape: Geometry,
    identity: Identity,
    source: FileSystemSource | None,
    tools: Tools,
) -> Space:
    """Write a file system into the disk file and return its space.

    Raises `DoesNotFitError` when the content needs more space, `HostError` when the host's disk is full.
    """
    argv = mke2fs_argv(disk.name, at, shape, identity, source.directory if source else None)
    environment = {"MKE2FS_CONFIG": str(CONFIGURATION), "E2FSPROGS_FAKE_TIME": str(identity.epoch)}
    if source and source.hidden:
        hidden = [str(path) for path in source.hidden]
        argv = ["sh", "-c", HIDE, "sh", str(source.empty), str(len(hidden)), *hidden, *argv]
    try:
        process.run(
            tools.namespace.argv(argv),
            deadline=3600,
            env=environment,
            cwd=disk.parent,
            log=tools.log("mke2fs"),
            what=f"cannot make the {shape.filesystem} file system of disk {disk.name}",
        )
    except ToolError as error:
        if any(text in error.tail for text in FULL):
            raise DoesNotFitError(error.problem.what, log=error.log, tail=error.tail) from error
        raise
    return settle(disk, at, identity.epoch, source, tools)


def settle(disk: Path, at: Extent, epoch: int, source: FileSystemSource | None, tools: Tools) -> Space:
    """Make a file system from mke2fs independent of its release and the host; return its space."""
    space = read_space(disk, at)
    done = process.run(
        ["debugfs", "-w", "-f", "-", target(disk, at)],
        stdin=f"{settle_script(space, epoch, source)}stats -h\n".encode(),
        deadline=600,
        env={"E2FSPROGS_FAKE_TIME": str(epoch)},
        cwd=disk.parent,
        # Standard output repeats the script, and has the superblock; only error messages go to the log.
        capture=True,
        log=tools.log("debugfs"),
        what=f"cannot set the times of {disk.name}",
    )
    # debugfs exits with 0 even when it could not open the file system, or one of its commands failed.
    if "\nInode count:" not in done.text:
        raise ImageError(f"cannot set the times of {disk.name}: debugfs could not open it", log=tools.log("debugfs"))
    ext_backups.renew(disk, at)
    settled = read_space(disk, at)
    devices = len(source.devices) if source else 0
    if settled.inodes - settled.free_inodes != space.inodes - space.free_inodes + devices:
        raise ImageError(f"not all device nodes were written to {disk.name}", log=tools.log("debugfs"))
    if settled.unwritten_bitmaps:
        raise ImageError(f"not all block bitmaps were written to {disk.name}", log=tools.log("debugfs"))
    return settled


def settle_script(space: Space, epoch: int, source: FileSystemSource | None) -> str:
    """Return the debugfs script that makes the device nodes and sets everything that depends on host or release."""
    lines: list[str] = []
    for device in source.devices if source else ():
        if not DEVICE_PATH.fullmatch(device.path) or "/../" in device.path or "/./" in device.path:
            raise ImageError(f"{device.path!r} is not a plain path for a device node", hint="letters, digits and ._+-")
        directory, _, name = device.path.rpartition("/")
        numbers = "" if device.type == "p" else f" {device.major} {device.minor}"
        lines += [f"cd {directory or '/'}", f"mknod {name} {device.type}{numbers}"]
        lines.append(f"sif {name} mode 0{TYPE_BITS[device.type] | device.mode:o}")
        lines += [f"sif {name} uid {device.uid}", f"sif {name} gid {device.gid}"]
    when = f"@{epoch}"
    if source:
        root = source.root
        lines += [f"sif <{ROOT_INODE}> mode 0{0o040000 | root.mode:o}", f"sif <{ROOT_INODE}> uid {root.uid}"]
        lines += [f"sif <{ROOT_INODE}> gid {root.gid}", f"sif <{ROOT_INODE}> mtime @{min(root.mtime, epoch)}"]
        for inode in _used(space):
            lines += [f"sif <{inode}> {field} {when}" for field in ("atime", "ctime", "crtime")]
    # The amount that mke2fs wrote differs between releases; 0 stays 0 (e2fsprogs, ext2fs_close2).
    lines.append("ssv kbytes_written 0")
    for group, flags in space.unwritten_bitmaps:
        lines.append(f"set_block_group {group} flags {flags & ~BLOCK_UNINIT}")
    if space.unwritten_bitmaps:
        # debugfs writes the bitmaps, with their checksums, only after changing one: block 1 holds group descriptors.
        lines += ["freeb 1", "setb 1"]
    return "\n".join(lines) + "\n"


def _used(space: Space) -> Iterator[int]:
    """Yield the root directory's inode and all inodes of files."""
    yield ROOT_INODE
    start = FIRST_INODE
    for first, last in (*space.free_inode_ranges, (space.inodes + 1, space.inodes + 1)):
        yield from range(start, first)
        start = max(start, last + 1)


def available(filesystem: Geometry, space: Space) -> int:
    """Return the bytes available to a normal user of the mounted file system (df's "Available")."""
    return (space.free_blocks - kernel_reserve(filesystem.filesystem, space.blocks)) * BLOCK


def check(disk: Path, areas: Sequence[Extent], tools: Tools) -> None:
    """Raise `ImageError` unless e2fsck finds each of the file systems clean; writes nothing.

    `tools.epoch` is the current time for e2fsck: the host's clock may be behind the archive's.
    """
    for at in areas:
        try:
            process.run(
                ["e2fsck", "-f", "-n", target(disk, at)],
                deadline=1800,
                env={"E2FSCK_TIME": str(tools.epoch)},
                cwd=disk.parent,
                log=tools.log("e2fsck"),
                what=f"the file system at byte {at.offset} of {disk.name} is not clean",
            )
        except ToolError as error:
            raise ImageError(error.problem.what, log=error.log, tail=error.tail) from error
