"""A recipe's disks, written as sparse raw files: table, file systems, boot loader; checked; optionally qcow2.

The promised `free` space is verified in the finished file system. When the estimate was too small, the disk is enlarged
and written again; when it was far too large (sparse files), it is made smaller.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from roost.disk import ext, fill, geometry, grub, limits, measure, mounted, packed, place, qemu_img, swap, table, vfat
from roost.disk.ext import DoesNotFitError, Identity
from roost.disk.fill import Filling, Fillings
from roost.disk.geometry import Geometry
from roost.disk.layout import Extent, Layout, MiB, boot_filesystem, plan
from roost.disk.measure import BLOCK, Content
from roost.disk.own_file import FileSystemFile, FileSystemSpec
from roost.disk.tools import Tools
from roost.disk.tree import TreeInfo
from roost.errors import ImageError
from roost.recipe.identity import filesystem_id, filesystem_uuid
from roost.recipe.model import Disk, FileSystem, Partition, Recipe
from roost.recipe.quantities import format_size

EXT: frozenset[FileSystem] = frozenset({"ext2", "ext3", "ext4"})
ATTEMPTS = 6
#: Excess free space for which the disk is written again, and how much of it is then left.
SURPLUS = 64 * MiB
MARGIN = 4 * MiB


@dataclass(frozen=True, slots=True)
class WrittenDisk:
    """A finished disk: the raw file at `path`, `allocated` bytes of it on the host (`layout.size` is virtual).

    `free` is the space in bytes for a normal user on each of `Disk.areas`, None for those without files.
    """

    name: str
    path: Path
    layout: Layout
    allocated: int
    free: tuple[int | None, ...]


@dataclass(frozen=True, slots=True)
class _Area:
    """One file system to write: its specification, its content, and the extra blocks requested by an attempt."""

    recipe: Recipe
    disk: Disk
    index: int
    spec: Partition
    filling: Filling
    content: Content
    extra: int = 0
    shrunk: bool = False
    #: A file system that was made in a separate file, to be copied to its place.
    made: FileSystemFile | None = None

    @property
    def promised(self) -> int:
        return self.spec.free or 0

    @property
    def shape(self) -> Geometry | None:
        """The geometry of an ext file system, None for others."""
        if self.spec.filesystem not in EXT:
            return None
        if self.spec.size is not None:
            return geometry.for_size(self.spec.filesystem, self.content, self.spec.size)
        return geometry.for_free(self.spec.filesystem, self.content, self.promised, self.extra)

    @property
    def size(self) -> int:
        if self.made is not None:
            return self.made.size
        shape = self.shape
        return shape.blocks * BLOCK if shape else self.spec.size or 0


class _WriteAgainError(Exception):
    """The area must be written again with `extra` blocks."""

    def __init__(self, index: int, extra: int, *, shrunk: bool) -> None:
        super().__init__(index, extra)
        self.index, self.extra, self.shrunk = index, extra, shrunk


def write_disks(
    recipe: Recipe,
    tree: TreeInfo | None,
    directory: Path,
    tools: Tools,
    *,
    reserved: Mapping[str, Path] | None = None,
) -> tuple[WrittenDisk, ...]:
    """Write all disks of a recipe into `directory` as NAME.raw and return them in the recipe's order.

    That of an existing image is left out: it is edited, not written.

    `tree` is divided among the mount points (None: nothing is mounted). `reserved` are empty files of `directory` that
    become the disks, by name, if they have the right size. Each file appears whole or not at all. Raises `ImageError`
    when content does not fit its `size`, `HostError` when the host's disk is full or a tool is missing.
    """
    # E2FSPROGS_FAKE_TIME=0 means the current time.
    tools = replace(tools, epoch=max(1, tools.epoch))
    directory = directory.absolute()
    written = []
    with tempfile.TemporaryDirectory(dir=directory, prefix=".disks-") as name:
        scratch = Path(name)
        fillings = fill.prepare(recipe, tree, scratch, tools)
        for disk in recipe.disks:
            if disk.existing:
                continue
            path = (reserved or {}).get(disk.name, scratch / f"{disk.name}.raw")
            areas = [_prepared(recipe, disk, index, fillings, scratch, tools) for index in range(len(disk.areas))]
            done = _write_disk(recipe, disk, areas, path, tools)
            final = directory / f"{disk.name}.raw"
            done.path.rename(final)
            written.append(WrittenDisk(done.name, final, done.layout, done.allocated, done.free))
    return tuple(written)


def to_qcow2(raw: Path, *, compress: str = "none", log: Path | None = None) -> Path:
    """Write NAME.qcow2 next to the disk NAME.raw and return its path; `compress` is none, zstd or zlib."""
    qcow2 = raw.with_suffix(".qcow2")
    qemu_img.convert(raw, qcow2, compress=compress, log=log)
    return qcow2


def _prepared(recipe: Recipe, disk: Disk, index: int, fillings: Fillings, scratch: Path, tools: Tools) -> _Area:
    """Return the area; a file system that is not written in place is made in a separate file."""
    area = _area(recipe, disk, index, fillings.of(disk, index))
    spec, source = area.spec, area.filling.source
    uuid = filesystem_uuid(recipe, disk, index)
    path = scratch / f"{disk.name}-{index}.{spec.filesystem}"
    wanted = FileSystemSpec(
        spec.filesystem,
        uuid,
        spec.label,
        spec.size,
        area.promised,
        source,
        area.filling.entries,
        area.content,
        tools.epoch,
    )
    if spec.filesystem in mounted.FILESYSTEMS:
        return replace(area, made=mounted.make(wanted, path, tools))
    if spec.filesystem in limits.READ_ONLY:
        return replace(area, made=packed.make(wanted, path, source or fillings.nothing, tools))
    return area


def _write_disk(recipe: Recipe, disk: Disk, areas: list[_Area], path: Path, tools: Tools) -> WrittenDisk:
    for _ in range(ATTEMPTS):
        layout = plan(recipe, disk, [area.size for area in areas])
        try:
            free = _attempt(path, layout, areas, tools)
        except _WriteAgainError as again:
            index = again.index
            areas[index] = _area(recipe, disk, index, areas[index].filling, again.extra, again.shrunk)
            continue
        return WrittenDisk(disk.name, path, layout, path.stat().st_blocks * 512, free)
    raise ImageError(
        f"disk {disk.name} cannot be made large enough for its content and the promised free space",
        hint="give the file system a `size` instead of `free`",
        log=tools.log("mke2fs"),
    )


def _area(recipe: Recipe, disk: Disk, index: int, filling: Filling, extra: int = 0, shrunk: bool = False) -> _Area:
    spec = disk.areas[index]
    content = measure.content(filling.entries, extents=geometry.uses_extents(spec.filesystem))
    return _Area(recipe, disk, index, spec, filling, content, extra, shrunk)


def _attempt(path: Path, layout: Layout, areas: list[_Area], tools: Tools) -> tuple[int | None, ...]:
    """Write the whole disk; return the free bytes of each area."""
    if not _is_empty(path, layout.size):
        path.unlink(missing_ok=True)
        with path.open("xb") as file:
            file.truncate(layout.size)
    # HTCondor passes disks to another user on the execution point.
    path.chmod(0o644)
    table.write(path, layout, tools.log("sfdisk"))
    free = [_write_area(path, at, area, tools) for at, area in zip(layout.areas, areas, strict=True)]
    if layout.core is not None:
        recipe = areas[0].recipe
        disk, index, mount = boot_filesystem(recipe)
        grub.install(
            path,
            layout,
            boot_uuid=filesystem_id(recipe, disk, index),
            filesystem=disk.areas[index].filesystem,
            directory="/boot/grub" if mount == "/" else "/grub",
            tools=tools,
        )
    ext.check(path, [at for at, area in zip(layout.areas, areas, strict=True) if area.shape], tools)
    return tuple(free)


def _is_empty(path: Path, size: int) -> bool:
    """Return whether a file is one hole of the right size: as good as a new one."""
    try:
        status = path.stat()
    except FileNotFoundError:
        return False
    return status.st_size == size and status.st_blocks == 0


def _write_area(path: Path, at: Extent, area: _Area, tools: Tools) -> int | None:
    spec = area.spec
    if area.made is not None:
        place.put(area.made.path, path, at)
        return area.made.free
    uuid = filesystem_uuid(area.recipe, area.disk, area.index)
    if area.shape is not None:
        seed = area.recipe.uuid_of("hash-seed", area.disk.name, str(area.index))
        return _write_ext(path, at, area, area.shape, Identity(uuid, seed, spec.label, tools.epoch), tools)
    if spec.filesystem == "swap":
        swap.write(path, at, uuid=uuid, label=spec.label, log_dir=tools.log_dir)
        return None
    if spec.filesystem == "vfat":
        source = area.filling.source
        content = vfat.VfatContent(source.directory if source else None, area.filling.entries)
        vfat.write(
            path, at, vfat.VfatIdentity(filesystem_id(area.recipe, area.disk, area.index), spec.label), content, tools
        )
        return None
    raise ImageError(f"{spec.filesystem} cannot be written on the host", hint="use ext4")


def _write_ext(path: Path, at: Extent, area: _Area, shape: Geometry, identity: Identity, tools: Tools) -> int:
    """Write an ext file system; raise `_WriteAgainError` when its size turns out to be wrong."""
    fixed = area.spec.size is not None
    try:
        space = ext.write(path, at, shape, identity, area.filling.source, tools)
    except DoesNotFitError as error:
        if fixed:
            needed = geometry.for_free(shape.filesystem, area.content, 0).blocks * BLOCK
            size = shape.blocks * BLOCK
            short = f", {format_size(needed - size)} too small" if needed > size else ""
            raise ImageError(
                f"the content of {area.spec.mount or area.disk.name} needs {format_size(needed)};"
                f" its size is {format_size(size)}{short}",
                hint=f"make size at least {format_size(needed)}, or write free instead",
                log=error.log,
            ) from error
        raise _WriteAgainError(
            area.index, area.extra + area.content.blocks // 10 + 16 * MiB // BLOCK, shrunk=area.shrunk
        ) from error
    free = ext.available(shape, space)
    surplus = free - area.promised
    if fixed:
        return free
    if surplus < 0:
        raise _WriteAgainError(area.index, area.extra + (MARGIN - surplus) // BLOCK, shrunk=area.shrunk)
    if surplus > max(SURPLUS, area.promised // 8) and not area.shrunk:
        raise _WriteAgainError(area.index, area.extra - (surplus - MARGIN) // BLOCK, shrunk=True)
    return free
