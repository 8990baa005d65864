"""Make an io disk: the file system that a recipe declares, with a job's inputs. No virtual machine, no mount.

The guest finds it by its label and runs the job in its input/ (roost/guest/job). The same inputs give the same bytes.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence, Set
from dataclasses import dataclass
from pathlib import Path

from roost.disk import ext, geometry, layout, measure, qemu_img, vfat
from roost.disk.ext import DoesNotFitError, FileSystemSource, Identity
from roost.disk.fill import IO_DIRECTORIES
from roost.disk.layout import Extent
from roost.disk.tools import Tools
from roost.errors import HostError, ImageError, Location, RoostError, UsageError
from roost.host import causes, namespace, source_date, temporary
from roost.host import output as writing
from roost.host.namespace import Namespace
from roost.iodisk import inputs, replaceable
from roost.iodisk.fill import fill
from roost.iodisk.inputs import Input
from roost.recipe.identity import filesystem_id, filesystem_uuid
from roost.recipe.model import Disk, Recipe
from roost.recipe.quantities import format_size
from roost.recipe.words import shown

#: How often a disk without a fixed size is enlarged, when the estimate from names and sizes was too small.
ATTEMPTS = 4
#: The maximum length of a file name in bytes (NAME_MAX).
NAME = 255


@dataclass(frozen=True, slots=True)
class IoDisk:
    """A finished io disk: its path, its virtual size in bytes, and the free space for the job."""

    path: Path
    virtual: int
    free: int | None


def disk_of(recipe: Recipe) -> Disk:
    """Return the recipe's io disk; raise `UsageError` when it has none."""
    disk = recipe.io_disk
    if disk is None:
        raise UsageError(
            f"{recipe.name} has no io disk",
            hint="give a disk `role: io`, such as {name: io, filesystem: ext4, size: 256MiB, role: io}",
        )
    return disk


def make(recipe: Recipe, items: Sequence[Input], output: Path, *, texts: dict[str, bytes] | None = None) -> IoDisk:
    """Write an io disk with `items` and the files `texts` (name → content) in input/, atomically.

    Raises `ImageError` when the inputs do not fit, `HostError` when the host's disk is full.
    """
    disk = disk_of(recipe)
    output = output.absolute()
    check_output(output, items)
    # There is no space beside a device or a FIFO: the disk is made elsewhere and copied to it.
    place = writing.directory(output)
    try:
        epoch = source_date.given() or inputs.newest(items)
        _check_size(recipe, disk, inputs.size(items))
    except OSError as error:
        name = shown(os.fsdecode(error.filename or b"?"), 200)
        raise ImageError(f"the input {name} cannot be read: {error.strerror}", hint="leave it out") from error
    try:
        with temporary.directory("io", place, hidden=True) as scratch:
            content = scratch / "content"
            for directory in ("", *IO_DIRECTORIES):
                (content / directory).mkdir(mode=0o755)
            for target, data in (texts or {}).items():
                (content / "input" / target).write_bytes(data)
            fill(content / "input", items, epoch)
            for directory in (*IO_DIRECTORIES, ""):
                (content / directory).chmod(0o755)
                os.utime(content / directory, (epoch, epoch))
            raw, free = _write(_Content(recipe, disk, content, epoch), scratch)
            size = raw.stat().st_size
            finished = raw
            if disk.format == "qcow2":
                finished = raw.with_suffix(".qcow2")
                qemu_img.convert(raw, finished, compress=disk.compress, log=scratch / "qemu-img.log")
            finished.chmod(0o644)
            writing.place(finished, output)
            return IoDisk(output, size, free)
    except RoostError as error:
        # The directory with the log is removed; its last lines are in the error.
        error.log = None
        raise
    except OSError as error:
        raise HostError(f"{output} cannot be written: {error.strerror}", hint=_hint(error)) from error


def _hint(error: OSError) -> str | None:
    """Return a hint for a disk that the host could not write."""
    if error.errno == errno.ENAMETOOLONG:
        return "the inputs have paths that are too long"
    cause = causes.behind(error)
    return (
        "free some space, or name another directory" if error.errno == errno.ENOSPC else cause.hint if cause else None
    )


def check_output(output: Path, items: Sequence[Input]) -> None:
    """Raise `UsageError` if a disk's directory or name is unusable, or it would replace an input or a build's disk."""
    wrong = output_problem(output, bases(items))
    if wrong is not None:
        raise UsageError(wrong[0], hint=wrong[1])


def bases(items: Sequence[Input]) -> set[Path]:
    """Return the files and directories that the inputs come from, with links followed."""
    return {(item.within or item.source).resolve() for item in items}


def output_problem(output: Path, bases: Set[Path]) -> tuple[str, str] | None:
    """Return why a disk cannot be written to `output`, and a hint; `bases` are the sources of its inputs."""
    if "\0" in str(output):
        return f"{shown(str(output), 400)} is not a valid file name", "leave out the zero byte"
    if len(os.fsencode(output.name)) > NAME:
        return f"the name {shown(output.name)} is longer than {NAME} bytes", "choose a shorter one"
    parent = shown(str(output.parent), 400)
    # Not Path.is_dir, which raises for a path that is too long.
    if os.path.lexists(output.parent) and not os.path.isdir(output.parent):  # noqa: PTH112
        return f"{parent} is not a directory", "name a file in a directory"
    if not os.path.isdir(output.parent):  # noqa: PTH112
        return f"no such directory: '{parent}'", f"mkdir -p {parent}"
    return _replaced(output, bases)


def _replaced(output: Path, bases: Set[Path]) -> tuple[str, str] | None:
    """Return which other file a disk at `output` would replace or be inside of, and a hint."""
    # A link is written through, so its target counts. Not Path.resolve, which raises for a loop of links.
    place = Path(os.path.realpath(output))
    if replaceable.is_built(place):
        other = output.with_name(f"{output.stem}-1{output.suffix}")
        what = f"{shown(str(output), 400)} is a file of the build in {shown(str(place.parent), 400)}"
        return what, f"name another file, such as {shown(str(other), 400)}"
    inside = next((base for base in (place, *place.parents) if base in bases), None)
    if inside is None:
        return None
    what = "is one of the inputs" if place == inside else f"is inside the input {shown(str(inside), 200)}"
    return f"the disk {shown(str(output), 400)} {what}", "write it elsewhere, or name the inputs one by one"


def _check_size(recipe: Recipe, disk: Disk, size: int) -> None:
    """Raise `ImageError` when the inputs are larger than the disk, before they are copied."""
    room = disk.areas[0].size
    if room is not None and size > room:
        raise too_large(recipe, disk, format_size(size), room)


def too_large(recipe: Recipe, disk: Disk, needed: str, room: int, where: Location | None = None) -> ImageError:
    """Return the error for inputs that do not fit on the disk; `needed` is their size, in words."""
    return ImageError(
        f"the inputs need {needed}; the io disk of {recipe.name} has {format_size(room)}",
        where=where,
        hint=f"give the disk {disk.name} a larger size in the recipe",
    )


def too_many(recipe: Recipe, where: Location | None = None) -> ImageError:
    """Return the error for inputs that were counted only until they exceeded the disk; `where` locates them."""
    disk = disk_of(recipe)
    room = disk.areas[0].size or 0
    return too_large(recipe, disk, f"more than {format_size(room)}, or too many names", room, where)


@dataclass(frozen=True, slots=True)
class _Content:
    """The contents of an io disk: `directory`, with all times `epoch`."""

    recipe: Recipe
    disk: Disk
    directory: Path
    epoch: int


def _write(content: _Content, scratch: Path) -> tuple[Path, int | None]:
    recipe, disk, directory, epoch = content.recipe, content.disk, content.directory, content.epoch
    area = disk.areas[0]
    raw = scratch / "disk.raw"
    # All of it was made here, by the user of this process.
    entries, inside = measure.own_listing(directory), namespace.owner()
    if area.filesystem == "vfat":
        return _write_vfat(content, raw, entries, inside), None
    found = measure.content(entries, extents=geometry.uses_extents(area.filesystem))
    root = next(entry for entry in entries if not entry.path)
    identity = Identity(
        filesystem_uuid(recipe, disk, 0), recipe.uuid_of("hash-seed", disk.name, "0"), area.label, epoch
    )
    extra = 0
    for _ in range(ATTEMPTS):
        shape = (
            geometry.for_size(area.filesystem, found, area.size)
            if area.size is not None
            else geometry.for_free(area.filesystem, found, area.free or 0, extra)
        )
        at = Extent(0, shape.blocks * measure.BLOCK)
        raw.unlink(missing_ok=True)
        with raw.open("xb") as file:
            file.truncate(at.size)
        try:
            source = FileSystemSource(directory, root._replace(uid=0, gid=0, mode=0o755, mtime=epoch))
            space = ext.write(raw, at, shape, identity, source, Tools(inside, epoch, scratch))
        except DoesNotFitError as error:
            if area.size is not None:
                needed = geometry.for_free(area.filesystem, found, 0).blocks * measure.BLOCK
                raise too_large(recipe, disk, format_size(needed), at.size) from error
            extra += found.blocks // 10 + 256
            continue
        free = ext.available(shape, space)
        if area.size is None and free < (area.free or 0):
            extra += ((area.free or 0) - free) // measure.BLOCK + 64
            continue
        return raw, free
    raise ImageError("the io disk cannot be made large enough", hint="give it a size instead of free")


def _write_vfat(content: _Content, raw: Path, entries: tuple[measure.Entry, ...], inside: Namespace) -> Path:
    disk = content.disk
    size = disk.areas[0].size
    if size is None:
        raise UsageError(f"the vfat disk {disk.name} has no size", hint="give it one in the recipe")
    at = Extent(0, -(-size // layout.MiB) * layout.MiB)
    with raw.open("xb") as file:
        file.truncate(at.size)
    identity = vfat.VfatIdentity(filesystem_id(content.recipe, disk, 0), disk.areas[0].label)
    vfat.write(
        raw, at, identity, vfat.VfatContent(content.directory, entries), Tools(inside, content.epoch, raw.parent)
    )
    return raw
