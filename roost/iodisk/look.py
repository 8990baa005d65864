"""Extract a job's results from one file system: status, log and output, each only if it has the expected type."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roost.host import process
from roost.iodisk.ext_files import ROOT, ExtFiles, Node
from roost.iodisk.extracted import Extracted, Limits
from roost.iodisk.returned import FileSystemCopy, UnreadableError
from roost.iodisk.status import LIMIT
from roost.iodisk.vfat_files import VfatFiles
from roost.recipe.words import shown

STATUS, LOG, OUTPUT, INPUT, FOUND = "status.json", "job.log", "output", "input", "lost+found"
#: The job runner's directory on the root file system, used when the machine has no io disk (roost/guest/job).
ON_ROOT = ("var", "lib", "roost", "io")


@dataclass(slots=True)
class Found:
    """A job's data on one file system: its status (None: no such file), and whether there is any job data."""

    status: bytes | None = None
    prepared: bool = False
    seen: Extracted = field(default_factory=Extracted)
    notes: list[str] = field(default_factory=list)


def look(copy: FileSystemCopy, out: Path, limits: Limits) -> Found:
    """Extract log and output to the new directory `out`, if the file system has any job data.

    Raises `UnreadableError` when it cannot be read at all.
    """
    return (_look_ext if copy.type == "ext" else _look_vfat)(copy, out, limits)


def _look_ext(copy: FileSystemCopy, out: Path, limits: Limits) -> Found:
    process.require("debugfs", "e2fsprogs")
    files, found = ExtFiles(copy.path), Found()
    root = files.nodes([ROOT]).get(ROOT)
    if root is None or root.kind != "directory":
        raise UnreadableError("the root directory cannot be read")
    top = _children(files, root, b"", found.seen)
    below: dict[bytes, Node | None] = {}
    if not any(name.encode() in top for name in (STATUS, INPUT)):
        below, path = top, b""
        for name in ON_ROOT:
            path += b"/" + name.encode()
            inner = below.get(name.encode())
            below = _children(files, inner, path, found.seen) if inner and inner.kind == "directory" else {}
    place, prefix = (below, b"/".join(map(str.encode, ON_ROOT)) + b"/") if below else (top, b"")
    found.prepared = any(name.encode() in place for name in (STATUS, INPUT))
    if found.prepared:
        _take_ext(files, place, prefix, out, limits, found)
    if copy.damage and FOUND.encode() in top:
        node = top[FOUND.encode()]
        if node is not None and node.kind == "directory":
            files.extract(node, FOUND.encode(), out / FOUND, limits, found.seen)
    if copy.inodes:
        paths = {inode: path for inode, path in found.seen.paths.items() if inode in copy.inodes}
        found.seen.incomplete += [shown(os.fsdecode(path), 200) for path in paths.values()]
    return found


def _children(files: ExtFiles, node: Node, path: bytes, seen: Extracted) -> dict[bytes, Node | None]:
    children = files.children(node)
    if children is None:
        seen.lose(path or b"/", "the directory cannot be read")
    return children or {}


def _take_ext(
    files: ExtFiles, place: Mapping[bytes, Node | None], prefix: bytes, out: Path, limits: Limits, found: Found
) -> None:
    """Extract status, log and output from the directory with the entries `place`."""
    seen = found.seen
    out.mkdir()
    for name, kind in ((STATUS, "file"), (LOG, "file"), (OUTPUT, "directory")):
        if name.encode() not in place:
            if name == OUTPUT:
                found.notes.append("there is no output/ on it")
            continue
        node, path = place[name.encode()], prefix + name.encode()
        if node is None or node.mode == 0:
            seen.lose(path, "its inode cannot be read")
        elif node.kind != kind:
            seen.lose(path, f"it is a {node.kind}, not a {kind}, and was left out")
        elif name == OUTPUT:
            files.extract(node, path, out / OUTPUT, limits, seen)
        elif name == STATUS:
            found.status = _take_status(files, node, path, seen)
        else:
            _take_log(files, node, path, out / LOG, limits, seen)
    if found.status is None and STATUS.encode() in place:
        found.status = b""


def _take_status(files: ExtFiles, node: Node, path: bytes, seen: Extracted) -> bytes:
    if node.size > LIMIT:
        seen.lose(path, f"it has {node.size} bytes; a status has at most {LIMIT}")
        return b""
    for _, copied in files.copies([node], LIMIT):
        if copied is not None:
            return copied.read_bytes()
    seen.lose(path, "cannot be read")
    return b""


def _take_log(files: ExtFiles, node: Node, path: bytes, target: Path, limits: Limits, seen: Extracted) -> None:
    if not files.head(node, target, limits.size):
        seen.lose(path, "cannot be read")
        return
    seen.log = min(node.size, limits.size)
    if node.size > limits.size:
        seen.limit(path, f"cut after {limits.size} of {node.size} bytes")


def _look_vfat(copy: FileSystemCopy, out: Path, limits: Limits) -> Found:
    process.require("mtools", "mtools")
    files, found = VfatFiles(copy.path), Found()
    names = {parts[0].lower(): directory for parts, directory in files.listing("", found.seen)}
    found.prepared = any(name in names for name in (STATUS, INPUT))
    if not found.prepared:
        return found
    out.mkdir()
    for name in (STATUS, LOG):
        if name not in names:
            continue
        limit = LIMIT if name == STATUS else limits.size
        copied, within = (None, True) if names[name] else files.copy(name, limit)
        if name == STATUS:
            found.status = copied.read_bytes() if copied else b""
        if copied is None and within:
            found.seen.lose(name.encode(), "it is a directory, not a file" if names[name] else "cannot be read")
        elif copied is None:
            found.seen.limit(name.encode(), f"more than {limit} bytes")
        elif name == LOG:
            found.seen.log = copied.stat().st_size
            copied.rename(out / LOG)
    if OUTPUT not in names:
        found.notes.append("there is no output/ on it")
    elif names[OUTPUT]:
        files.extract(OUTPUT, out / OUTPUT, limits, found.seen)
    else:
        found.seen.lose(OUTPUT.encode(), "it is a file, not a directory, and was left out")
    return found
