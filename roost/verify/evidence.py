"""What the guest left on its disks, read after its end without mounting and without a virtual machine.

Only the relevant parts are read from the throw-away layer: the partition table and the superblocks, which show whether
a file system was left clean; and, for a file, its file system, read by debugfs or mtools in user space with limits on
time, memory and output, because a guest's file system may hold anything.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

from roost.errors import RoostError
from roost.host import causes, jsontext, process
from roost.verify import superblocks
from roost.verify.superblocks import HEAD

SECTOR = 512
#: Maximum bytes of a file that are read.
CONTENT = 1 << 20
#: Limits for tools that read a guest's file system: bytes of output, bytes of memory, seconds.
OUTPUT, MEMORY, DEADLINE = 2 * CONTENT, 1 << 30, 30.0
#: The message for a partition of a truncated disk, or of one whose table is damaged.
BEYOND = "it reaches beyond the end of the disk"
COPY_DEADLINE = 600.0
#: Types of file systems whose files can be read here.
READABLE = frozenset({"ext", "vfat"})
_LINKS = 8
_EXTENDED = {"5", "f", "85"}
#: Partition types that never have a file system: GRUB's core of a GPT disk, and swap (util-linux, sfdisk -T).
_NO_FILES = frozenset({"21686148-6449-6e6f-744e-656564454649", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f", "82"})


@dataclass(frozen=True, slots=True)
class FileSystem:
    """A file system after the guest's end: its disk (file name) and partition (0: the whole disk), its type.

    `clean` is None when unknown; `seen` is the finding in words. `lost`: it existed before the run and is gone.
    """

    disk: str
    partition: int
    type: str
    clean: bool | None
    seen: str
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Area:
    """A partition of a disk, or (number 0) the whole disk: offset and size in bytes, and its file system.

    `no_files` means that its type in the partition table never has a file system.
    """

    number: int
    offset: int
    size: int
    type: str
    clean: bool | None
    seen: str
    no_files: bool = False


@dataclass(frozen=True, slots=True)
class FoundFile:
    """The result for a path: `content` is None when it is not a regular file, and then `seen` says why.

    `exists` is false only for a name that certainly does not exist.
    """

    content: bytes | None
    size: int
    mode: int
    seen: str
    exists: bool = True


@dataclass
class StoppedDisk:
    """A disk after the guest's end. `node` is its block node; file names are relative to `directory` or absolute."""

    name: str
    node: dict[str, Any]
    directory: Path
    prefix: str
    virtual: int = 0
    _areas: tuple[Area, ...] | None = None
    _copies: dict[int, Path] = field(default_factory=dict)

    def areas(self) -> tuple[Area, ...]:
        """Return the disk's partitions, or the disk itself when it has no table. Raises `RoostError`."""
        if self._areas is None:
            self._areas = tuple(self._look())
        return self._areas

    def filesystems(self) -> tuple[FileSystem, ...]:
        """Return the state of each known file system; a disk that cannot be read is reported as such."""
        try:
            return tuple(
                FileSystem(self.name, area.number, area.type, area.clean, area.seen)
                for area in self.areas()
                if area.type
            )
        except (RoostError, OSError, ValueError) as error:
            why = str(error) if isinstance(error, RoostError) else causes.reason(error)
            return (FileSystem(self.name, 0, "disk", None, f"cannot be read: {why}"),)

    def read(self, number: int, path: str) -> FoundFile:
        """Return the file at absolute `path` of the file system in area `number`. Raises `RoostError`."""
        area = next((one for one in self.areas() if one.number == number), None)
        if area is None:
            return FoundFile(None, 0, 0, f"{self.name} has no partition {number}")
        if area.type not in READABLE:
            return FoundFile(None, 0, 0, f"files of {area.type or 'no known file system'} cannot be read here")
        copy = self.copy(number)
        return _read_ext(copy, path) if area.type == "ext" else _read_vfat(copy, path)

    def copy(self, number: int) -> Path:
        """Return a sparse copy of area `number` in `directory`, made once. Raises `RoostError`."""
        area = next(one for one in self.areas() if one.number == number)
        if number not in self._copies:
            self._copies[number] = self._extract(area.offset, area.size, f"{self.prefix}-{number}.raw")
        return self._copies[number]

    def _look(self) -> list[Area]:
        size = self._size()
        head = self._extract(0, min(size, 9 * HEAD), f"{self.prefix}-head.raw")
        whole = _area(0, 0, size, head.read_bytes()[:HEAD])
        if whole.type:
            return [whole]
        partitions = self._partitions(head, size)
        areas = []
        for number, offset, length, no_files in partitions:
            if offset + length > size:
                areas.append(Area(number, offset, max(0, size - offset), "", None, BEYOND))
                continue
            with head.open("rb") as file:
                file.seek(offset)
                start = file.read(HEAD)
            if offset + HEAD > 9 * HEAD:
                start = self._extract(offset, min(length, HEAD), f"{self.prefix}-part.raw").read_bytes()
            areas.append(replace(_area(number, offset, length, start), no_files=no_files))
        return areas or [whole]

    def _partitions(self, head: Path, size: int) -> list[tuple[int, int, int, bool]]:
        if head.read_bytes()[SECTOR - 2 : SECTOR] != b"\x55\xaa":
            return []
        # sfdisk accepts the table only with the disk's real size; a hole costs nothing.
        with head.open("r+b") as file:
            file.truncate(size)
        done = process.run(
            ["sfdisk", "--json", head.name], deadline=DEADLINE, capture=True, check=False, cwd=self.directory
        )
        if done.returncode != 0:
            return []
        table = jsontext.loads(done.stdout)["partitiontable"]
        sector = int(table.get("sectorsize", SECTOR))
        found = []
        for entry in table.get("partitions", []):
            number = int(re.search(r"\d+$", entry["node"])[0])  # type: ignore[index]
            offset, length = int(entry["start"]) * sector, int(entry["size"]) * sector
            kind = entry.get("type", "").lower()
            if kind not in _EXTENDED and 0 < offset < offset + length:
                found.append((number, offset, length, kind in _NO_FILES))
        return found

    def _size(self) -> int:
        done = process.run(
            ["qemu-img", "info", "--output=json", f"json:{json.dumps(self.node)}"],
            deadline=DEADLINE,
            capture=True,
            cwd=self.directory,
            what=f"cannot read {self.name} after the stop",
        )
        self.virtual = int(jsontext.loads(done.stdout)["virtual-size"])
        return self.virtual

    def _extract(self, offset: int, size: int, name: str) -> Path:
        """Copy a range of the disk into a sparse file of `directory`."""
        part = {"driver": "raw", "offset": offset, "size": size - size % SECTOR, "file": self.node}
        process.run(
            ["qemu-img", "convert", "-O", "raw", f"json:{json.dumps(part)}", name],
            deadline=COPY_DEADLINE,
            cwd=self.directory,
            what=f"cannot read {self.name} after the stop",
        )
        return self.directory / name


def _area(number: int, offset: int, size: int, head: bytes) -> Area:
    kind, clean, seen = superblocks.state(head)
    return Area(number, offset, size, kind, clean, seen)


def _quoted(text: str) -> str:
    """Return an argument as debugfs' request parser (libss) expects it: in quotes, quotes doubled."""
    return '"' + text.replace('"', '""') + '"'


def _debugfs(image: Path, request: str) -> str:
    done = process.run(
        process.bounded(["debugfs", "-c", "-R", request, image.name], memory=MEMORY, output=OUTPUT),
        deadline=DEADLINE,
        capture=True,
        check=False,
        cwd=image.parent,
    )
    return done.text


def _read_ext(image: Path, path: str) -> FoundFile:
    kind, mode, size = "symlink", 0, 0
    for _ in range(_LINKS):
        text = _debugfs(image, f"stat {_quoted(path)}")
        match = re.search(r"Inode: \d+ +Type: (\w+(?: \w+)*) +Mode: +(\d+)", text)
        length = re.search(r"\bSize: (\d+)", text)
        if not match or not length:
            return FoundFile(None, 0, 0, "there is no such file", False)
        kind, mode, size = match[1], int(match[2], 8), int(length[1])
        target = re.search(r'Fast link dest: "(.*)"', text)
        if kind != "symlink" or not target:
            break
        path = str(PurePosixPath(path).parent / target[1])
    if kind != "regular":
        return FoundFile(None, size, mode, f"it is not a regular file but a {kind}")
    output = image.with_name(f"{image.stem}.file")
    output.unlink(missing_ok=True)
    _debugfs(image, f"dump {_quoted(path)} {output.name}")
    content = output.read_bytes()[:CONTENT] if output.exists() else b""
    output.unlink(missing_ok=True)
    return FoundFile(content, size, mode, f"{size} bytes")


def _read_vfat(image: Path, path: str) -> FoundFile:
    output = image.with_name(f"{image.stem}.file")
    output.unlink(missing_ok=True)
    done = process.run(
        process.bounded(["mcopy", "-n", "-i", image.name, f"::{path}", output.name], memory=MEMORY, output=OUTPUT),
        deadline=DEADLINE,
        check=False,
        cwd=image.parent,
    )
    if not output.exists():
        why = "there is no such file" if done.returncode else "it cannot be read"
        return FoundFile(None, 0, 0, why, done.returncode == 0)
    content = output.read_bytes()
    output.unlink(missing_ok=True)
    return FoundFile(content[:CONTENT], len(content), 0o755, f"{len(content)} bytes")


def place_of(mounts: Mapping[str, tuple[str, int]], path: str) -> tuple[str, int, str] | None:
    """Return (disk, area, path there) of an absolute path of the guest, by its mount points; None if none matches."""
    best = max((mount for mount in mounts if PurePosixPath(path).is_relative_to(mount)), key=len, default=None)
    if best is None:
        return None
    disk, number = mounts[best]
    return disk, number, "/" + str(PurePosixPath(path).relative_to(best))
