"""FAT file systems, made by mkfs.vfat in place and filled by mtools: no mount, the same bytes every time."""

from __future__ import annotations

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.disk import vfat_limits
from roost.disk.layout import SECTOR, Extent
from roost.disk.measure import Entry
from roost.disk.tools import Tools
from roost.errors import ImageError, ToolError
from roost.host import process
from roost.recipe.quantities import format_size
from roost.recipe.words import shown


@dataclass(frozen=True, slots=True)
class VfatIdentity:
    """The identity of a FAT file system: `volume_id` is `XXXX-XXXX` in hexadecimal."""

    volume_id: str
    label: str | None


@dataclass(frozen=True, slots=True)
class VfatContent:
    """The content: the directory (None: empty) and all names in it."""

    directory: Path | None
    entries: tuple[Entry, ...]


def write(disk: Path, at: Extent, identity: VfatIdentity, content: VfatContent, tools: Tools) -> None:
    """Write a FAT file system into the range `at` of the disk file.

    Raises `ImageError` for content that FAT does not support (links and devices) or that does not fit.
    """
    argv = ["mkfs.vfat", "--invariant", "-i", identity.volume_id.replace("-", "")]
    if identity.label:
        argv += ["-n", identity.label.upper()]
    if at.offset:
        argv += ["--offset", str(at.offset // SECTOR)]
    # The size counts blocks of 1 KiB.
    process.run(
        [*argv, disk.name, str(at.size // 1024)],
        deadline=60,
        cwd=disk.parent,
        log=tools.log("mkfs.vfat"),
        what=f"cannot make the vfat file system of {disk.name}",
    )
    if content.directory is None:
        return
    _require_entries(content.entries, at.size, identity.label)
    directories, files = _contents(content.entries)
    image = f"{disk}@@{at.offset}"
    # Sorted, directory by directory: mtools' own recursion uses the order of the host's file system.
    commands = [["mmd", "-i", image, *(f"::/{path}" for path in directories)]] if directories else []
    for parent, names in sorted(files.items()):
        sources = [str(content.directory / parent / name) for name in names]
        commands.append(["mcopy", "-i", image, "-m", "-Q", *sources, f"::/{parent}"])
    if commands:
        process.require("mcopy", "mtools")
    for command in commands:
        try:
            process.run(
                tools.namespace.argv(command),
                deadline=600,
                # FAT has local times: a fixed zone makes them the same everywhere.
                env={
                    "SOURCE_DATE_EPOCH": str(tools.epoch),
                    "TZ": "UTC",
                    "MTOOLS_SKIP_CHECK": "1",
                    "MTOOLSRC": os.devnull,
                },
                log=tools.log("mtools"),
                what=f"cannot fill the vfat file system of {disk.name}",
            )
        except ToolError as error:
            raise ImageError(error.problem.what, log=error.log, tail=error.tail) from error


def _require_entries(entries: Sequence[Entry], size: int, label: str | None) -> None:
    """Raise `ImageError` when the root directory has too few entries: mtools drops the rest."""
    names = sorted({entry.path.decode("utf-8", "surrogateescape").split("/")[0] for entry in entries if entry.path})
    if (name := vfat_limits.beyond_root(names, size, label)) is not None:
        what = (
            f"the root directory of the vfat file system has {vfat_limits.ROOT} entries, and no room for {shown(name)}"
        )
        raise ImageError(what, hint="put the files into a directory, or use ext4")


def _refuse(entries: Sequence[Entry]) -> None:
    """Raise `ImageError` for a name or a size that FAT does not support: mtools prompts, or drops the file."""
    paths = [entry.path.decode("utf-8", "surrogateescape") for entry in entries if entry.path]
    for entry in entries:
        path = entry.path.decode("utf-8", "surrogateescape")
        bad = vfat_limits.bad_name(path.rpartition("/")[2]) if path else None
        if bad is not None:
            raise ImageError(f"{shown(path)}: {bad}", hint="rename it, or use ext4")
        if entry.type == "f" and entry.size > vfat_limits.FILE:
            what = f"{shown(path)} has {format_size(entry.size)}: vfat files must be smaller than 4 GiB"
            raise ImageError(what, hint="use ext4")
    for again, first in vfat_limits.twins(paths):
        what = f"{shown(first)} and {shown(again)} differ only in case: vfat treats them as the same name"
        raise ImageError(what, hint="rename one of them, or use ext4")


def _contents(entries: Iterable[Entry]) -> tuple[list[str], dict[str, list[str]]]:
    """Return the directories, parents first, and the names of the files in each directory (`` is the root), sorted."""
    entries = sorted(entries, key=lambda entry: entry.path)
    _refuse(entries)
    directories: list[str] = []
    files: dict[str, list[str]] = {}
    for entry in entries:
        path = entry.path.decode("utf-8", "surrogateescape")
        if entry.type not in "fd":
            raise ImageError(f"{path!r} is not a plain file: vfat cannot hold it", hint="use ext4")
        if not path:
            continue
        parent, _, name = path.rpartition("/")
        if entry.type == "d":
            directories.append(path)
        else:
            files.setdefault(parent, []).append(name)
    return directories, files
