"""Divides the root tree among the file systems, and prepares the source of each."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from roost.disk import measure
from roost.disk.ext import FileSystemSource
from roost.disk.measure import Entry
from roost.disk.tools import Tools
from roost.disk.tree import DeviceNode, TreeInfo
from roost.errors import ImageError
from roost.host import process
from roost.recipe.model import Disk, Recipe

#: The directories of an io disk (job contract): the job's input and its output.
IO_DIRECTORIES = ("input", "output")


@dataclass(frozen=True, slots=True)
class Filling:
    """The content of one file system: its source (None: it stays empty), and all names in it."""

    source: FileSystemSource | None
    entries: tuple[Entry, ...]


NOTHING = Filling(None, ())


@dataclass(frozen=True, slots=True)
class Fillings:
    """Fillings by mount point, and those of the io disk and of the seed."""

    mounted: dict[str, Filling]
    io: Filling
    #: An empty directory, for file systems that cannot be made without one.
    nothing: FileSystemSource
    seed: Filling = NOTHING

    def of(self, disk: Disk, index: int) -> Filling:
        """Return the filling of the `index`th file system of `disk`."""
        mount = disk.areas[index].mount
        if mount is not None:
            return self.mounted.get(mount, NOTHING)
        return {"io": self.io, "seed": self.seed}.get(disk.role or "", NOTHING)


def prepare(recipe: Recipe, tree: TreeInfo | None, scratch: Path, tools: Tools) -> Fillings:
    """Measure the tree and divide it among the mount points; missing mount points are made.

    Afterwards no time in the tree is later than the epoch. Raises `ImageError` for a mount point behind a link.
    """
    epoch, namespace = tools.epoch, tools.namespace
    io = _io(scratch / "io", epoch)
    empty = _directory(scratch / "empty", epoch)
    nothing = FileSystemSource(empty, io.entries[0])
    if tree is None:
        return Fillings({}, io, nothing)
    # The tools run in the disk's directory.
    top = tree.path.absolute()
    log = tools.log("measure")
    mounts = [area.mount for disk in recipe.disks for area in disk.areas if area.mount]
    entries = measure.listing(top, namespace, log)
    missing = [mount for mount in mounts if mount != "/" and not measure.mount_point(entries, mount)]
    if missing:
        directories = [top / mount[1:] for mount in missing]
        process.run(namespace.argv(["mkdir", "-p", "-m", "0755", "--", *directories]), deadline=60, log=log)
        entries = measure.listing(top, namespace, log)
    _places(tree.devices, entries)
    measure.clamp(top, epoch, namespace, log)
    mounted = {}
    for mount in mounts:
        inside = measure.below(entries, mount, mounts)
        root = next(entry for entry in inside if not entry.path)
        source = FileSystemSource(
            top / mount[1:],
            root,
            tuple(_devices(tree.devices, mount, mounts)),
            tuple(top / other[1:] for other in _topmost(mount, mounts)),
            empty,
        )
        mounted[mount] = Filling(source, inside)
    return Fillings(mounted, io, nothing, _seed(tree.seed, io.entries[0]) if tree.seed else NOTHING)


def _topmost(mount: str, mounts: list[str]) -> list[str]:
    """Return the mount points directly below `mount`, not below another one: those to hide."""
    inner = sorted(other for other in mounts if other != mount and _under(other, mount))
    return [one for one in inner if not any(one != other and _under(one, other) for other in inner)]


def _under(path: str, mount: str) -> bool:
    return mount in ("/", path) or path.startswith(f"{mount}/")


def _devices(devices: tuple[DeviceNode, ...], mount: str, mounts: list[str]) -> list[DeviceNode]:
    """Return the device nodes of the file system on `mount`, with paths relative to it."""
    mine = []
    for device in devices:
        holder = max((other for other in mounts if _under(device.path, other)), key=len)
        if holder == mount:
            mine.append(replace(device, path=device.path if mount == "/" else device.path[len(mount) :]))
    return mine


def _places(devices: tuple[DeviceNode, ...], entries: tuple[Entry, ...]) -> None:
    """Raise `ImageError` unless the tree has each device node's directory, but not the node itself."""
    kinds = {entry.path: entry.type for entry in entries}
    for device in devices:
        directory, _, _ = device.path.rpartition("/")
        if kinds.get(directory[1:].encode()) != "d":
            raise ImageError(f"the device node {device.path} has no directory {directory or '/'} in the tree")
        if device.path[1:].encode() in kinds:
            raise ImageError(f"{device.path} exists in the tree and cannot be a device node as well")


def _io(directory: Path, epoch: int) -> Filling:
    _directory(directory, epoch)
    paths = [_directory(directory / name, epoch) for name in IO_DIRECTORIES]
    os.utime(directory, (epoch, epoch))
    root = Entry(b"", "d", "0", 2, 0, 0o755, 0, 0, epoch)
    entries = (root, *(root._replace(path=path.name.encode()) for path in paths))
    return Filling(FileSystemSource(directory, root), entries)


def _seed(directory: Path, root: Entry) -> Filling:
    files = tuple(
        root._replace(path=path.name.encode(), type="f", size=path.stat().st_size, mode=0o644)
        for path in sorted(directory.iterdir())
    )
    return Filling(FileSystemSource(directory, root), (root, *files))


def _directory(path: Path, epoch: int) -> Path:
    path.mkdir()
    path.chmod(0o755)
    os.utime(path, (epoch, epoch))
    return path
