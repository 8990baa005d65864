"""squashfs and erofs: read-only file systems, made by their own tools in the build's namespace.

The same bytes every time: the tools sort names, and all times are set. Both are compressed with an algorithm that
decompresses fast: a job reads its data once. They are read-only, so they hold data, not a root.
"""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

from roost.disk.ext import HIDE, FileSystemSource
from roost.disk.layout import MiB
from roost.disk.own_file import FileSystemFile, FileSystemSpec
from roost.disk.tools import Tools
from roost.errors import HostError, ImageError, ToolError
from roost.host import process


def squashfs_argv(source: Path, output: Path, epoch: int) -> list[str]:
    """Return mksquashfs' command line; files keep their modification times."""
    argv = ["mksquashfs", str(source), str(output), "-noappend", "-quiet", "-no-progress", "-comp", "zstd"]
    return [*argv, "-Xcompression-level", "9", "-b", "131072", "-mkfs-time", str(epoch), "-xattrs"]


def erofs_argv(source: Path, output: Path, uuid: UUID, label: str | None, epoch: int) -> list[str]:
    """Return mkfs.erofs' command line; all times are `epoch`, since its small inodes have none."""
    argv = ["mkfs.erofs", "--quiet", "-zlz4hc", "-T", str(epoch), "-U", str(uuid)]
    if label:
        argv += ["-L", label]
    return [*argv, str(output), str(source)]


def make(wanted: FileSystemSpec, path: Path, source: FileSystemSource, tools: Tools) -> FileSystemFile:
    """Pack a source into the new file `path`, padded to whole MiB.

    Raises `ImageError` when it exceeds the requested size, `HostError` when the tool is missing or the host's disk is
    full.
    """
    filesystem, label, size = wanted.filesystem, wanted.label, wanted.size
    if filesystem == "squashfs":
        process.require("mksquashfs", "squashfs-tools")
        argv = squashfs_argv(source.directory, path, tools.epoch)
    else:
        process.require("mkfs.erofs", "erofs-utils")
        argv = erofs_argv(source.directory, path, wanted.uuid, label, tools.epoch)
    if source.hidden:
        argv = ["sh", "-c", HIDE, "sh", str(source.empty), str(len(source.hidden)), *map(str, source.hidden), *argv]
    try:
        process.run(
            tools.namespace.argv(argv),
            deadline=3600,
            log=tools.log(argv[0] if not source.hidden else filesystem),
            what=f"cannot make the {filesystem} file system",
        )
    except ToolError as error:
        if label and re.search(r"invalid option.*'?L", error.tail):
            raise HostError(
                "this mkfs.erofs cannot set a label", hint="leave label out, or install erofs-utils 1.7", log=error.log
            ) from error
        raise
    packed = path.stat().st_size
    whole = -(-max(packed, size or 0) // MiB) * MiB
    if size is not None and whole > -(-size // MiB) * MiB:
        raise ImageError(
            f"the packed content needs {packed} bytes; its size is {size}",
            hint="leave size out: it follows from the content",
        )
    with path.open("r+b") as file:
        file.truncate(whole)
    return FileSystemFile(path, whole, None)
