"""How two files differ that should be the same: the first byte, how many blocks, and what is stored there.

Disks are examined by readers that share no code with their writers: partition tables by `verify.tables`, ext file
systems by debugfs, initrds member by member.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roost.errors import ImageError, RoostError
from roost.host import files, process
from roost.kernel import cpio
from roost.recipe.words import shown
from roost.verify import superblocks, tables

BLOCK = 4096
_CHUNK = 1 << 20
#: Maximum number of places named, and of file system blocks looked up.
MOST, LOOKED_UP = 20, 400


@dataclass(frozen=True, slots=True)
class Difference:
    """A difference: `offset` is the first byte that differs, `blocks` counts 4 KiB, `where` lists what is stored there.

    `content` means that two disks have the same content and only their files differ.
    """

    offset: int | None
    blocks: int
    where: tuple[str, ...] = ()
    content: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {
            "offset": self.offset,
            "blocks": self.blocks,
            "where": list(self.where),
            "same_content": self.content,
        }


def of_files(one: Path, other: Path, kind: str, scratch: Path, log: Path) -> Difference | None:
    """Return how two files differ, None if they are the same; `kind` is raw, qcow2, initrd, kernel or text.

    Disks are converted in `scratch`. `where` also reports what cannot be examined.
    """
    offsets, count = _blocks(one, other)
    if not count:
        return None
    found = Difference(_first(one, other, offsets[0]), count)
    try:
        if kind == "qcow2":
            return _qcow2(one, other, found, scratch, log)
        where = list(_named(one, other, kind, offsets, log))
    except RoostError as error:
        where = [f"cannot be read: {shown(error.problem.what)}"]
    return replace(found, where=tuple(where))


def _named(one: Path, other: Path, kind: str, offsets: Sequence[int], log: Path) -> Iterator[str]:
    """Yield what is stored where two files differ, as far as their kind allows."""
    if kind == "raw":
        yield from _places(one, offsets, log)
    elif kind == "initrd":
        yield from _members(one, other)
    elif kind == "text":
        yield f"line {files.read_bytes(one)[: _first(one, other, offsets[0])].count(10) + 1}"


def _qcow2(one: Path, other: Path, found: Difference, scratch: Path, log: Path) -> Difference:
    raws = scratch / "one.raw", scratch / "other.raw"
    for path, raw in zip((one, other), raws, strict=True):
        process.run(["qemu-img", "convert", "-O", "raw", path, raw], deadline=1800, log=log)
    offsets, count = _blocks(*raws)
    if not count:
        return replace(found, where=("only the qcow2 files differ: the disks hold the same",), content=True)
    return Difference(_first(*raws, offsets[0]), count, tuple(_places(raws[0], offsets, log)))


def _blocks(one: Path, other: Path) -> tuple[list[int], int]:
    """Return the offsets of the first blocks that differ, and their number; blocks in only one file count too."""
    found: list[int] = []
    count = 0
    with files.open_regular(one) as left, files.open_regular(other) as right:
        at = 0
        while True:
            pair = left.read(_CHUNK), right.read(_CHUNK)
            if not any(pair):
                return found, count
            if pair[0] != pair[1]:
                for start in range(0, max(map(len, pair)), BLOCK):
                    if pair[0][start : start + BLOCK] != pair[1][start : start + BLOCK]:
                        count += 1
                        if len(found) < 1000:
                            found.append(at + start)
            at += _CHUNK


def _first(one: Path, other: Path, block: int) -> int:
    with files.open_regular(one) as left, files.open_regular(other) as right:
        left.seek(block)
        right.seek(block)
        pair = left.read(BLOCK), right.read(BLOCK)
    same = next((at for at, (a, b) in enumerate(zip(*pair, strict=False)) if a != b), min(map(len, pair)))
    return block + same


def _places(disk: Path, offsets: Sequence[int], log: Path) -> Iterator[str]:
    """Yield what is stored at the given offsets of a raw disk, each once."""
    with files.open_regular(disk) as file:
        head = file.read(tables.TABLE_BYTES)
    table = tables.read(head)
    areas = [(f"partition {one.number}", one.offset, one.size) for one in table.partitions]
    if table.kind is None:
        areas = [("the file system", 0, disk.stat().st_size)]
    seen: dict[str, None] = {}
    outside = [at for at in offsets if not any(start <= at < start + size for _, start, size in areas)]
    if outside:
        seen[f"byte {outside[0]}: the partition table or the boot loader"] = None
    for name, start, size in areas:
        inside = [at - start for at in offsets if start <= at < start + size]
        if inside:
            seen |= dict.fromkeys(f"{name}: {what}" for what in _in_filesystem(disk, start, inside, log))
    yield from list(seen)[:MOST]


def _in_filesystem(disk: Path, start: int, offsets: Sequence[int], log: Path) -> list[str]:
    """Return the files that own the blocks at offsets of a file system, or the block numbers."""
    with files.open_regular(disk) as file:
        file.seek(start)
        head = file.read(2048)
    size = superblocks.ext(head).block if len(head) == 2048 and superblocks.state(head)[0] == "ext" else 0
    if not size:
        return [f"byte {offset} (no ext file system)" for offset in offsets[:MOST]]
    # A block of 4 KiB may be several of the file system's, or a part of one.
    found = dict.fromkeys(at // size for one in offsets for at in range(one, one + BLOCK, min(size, BLOCK)))
    blocks = list(found)[:LOOKED_UP]
    target = f"{disk.name}?offset={start}" if start else disk.name
    inodes = _debugfs(disk, target, f"icheck {' '.join(map(str, blocks))}", log)
    owners = dict(re.findall(r"^(\d+)\t(\d+)$", inodes, re.MULTILINE))
    paths = _debugfs(disk, target, f"ncheck {' '.join(set(owners.values()))}", log) if owners else ""
    names = dict(re.findall(r"^(\d+)\t(.+)$", paths, re.MULTILINE))
    places = []
    for block in blocks:
        inode = owners.get(str(block))
        name = names.get(inode, f"inode {inode}") if inode else None
        places.append(shown(name, 200) if name else f"block {block}, of no file: inodes, maps or directories' index")
    return list(dict.fromkeys(places))


def _debugfs(disk: Path, target: str, request: str, log: Path) -> str:
    argv = ["debugfs", "-R", request, target]
    return process.run(argv, deadline=300, capture=True, cwd=disk.parent, log=log, what="cannot read the disk").text


def _members(one: Path, other: Path) -> Iterator[str]:
    """Yield the members in which two initrds differ."""
    sides: list[Mapping[str, Any]] = []
    for path in (one, other):
        with files.open_regular(path) as file:
            sides.append({member.name: _member(member) for member in cpio.entries(file)})
    names = [name for name in dict.fromkeys([*sides[0], *sides[1]]) if sides[0].get(name) != sides[1].get(name)]
    yield from (shown(name, 200) for name in names[:MOST])
    if not names:
        yield "the members are the same: their order, times or compression differ"


def _member(member: cpio.Member) -> tuple[int, int, str]:
    data = member.read(member.size) if member.is_file else b""
    if len(data) != (member.size if member.is_file else 0):
        raise ImageError(f"{member.name} is cut off")
    return member.mode, member.size, hashlib.sha256(data).hexdigest()
