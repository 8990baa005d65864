"""Extract files from an untrusted ext file system, without mounting it and without a virtual machine.

debugfs copies by inode number to files named here, and prints inodes as hexadecimal digits, so that a
name in the file system never becomes part of a command or is mistaken for debugfs' output. Only plain files and
directories are extracted, never a link, a device or a set-user-ID bit; their number, depth and size are limited.
"""

from __future__ import annotations

import os
import re
import stat
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.errors import ToolError
from roost.host import process
from roost.iodisk import dirents
from roost.iodisk.ext_check import MEMORY
from roost.iodisk.extracted import Extracted, Limits, check_room

#: The maximum depth of directories; a deeper tree is a trap for programs that traverse it.
DEPTH = 64
#: The maximum length in bytes of a path on the host, including the target directory (PATH_MAX is 4096).
PATH = 3800
DEADLINE = 600.0
#: The number of bytes that a tool may always write: its standard error also goes to a file.
MESSAGES = 64 << 10
#: The number of requests in one debugfs script.
BATCH = 2000
#: Size limit of a directory in bytes, more than a million names of 255 bytes need.
DIRECTORY = 256 << 20
ROOT = 2
_INLINE, _ENCRYPTED = 0x10000000, 0x800
#: A section of debugfs' output, and a row of `inode_dump`: octal offset, eight words. It prints nothing else there.
_SECTION = re.compile(rb"^debugfs: inode_dump <(\d+)>$", re.MULTILINE)
_ROW = re.compile(rb"^(0[0-7]{3})  ((?:[0-9a-f]{4} ){8})", re.MULTILINE)
_KINDS = {stat.S_IFDIR: "directory", stat.S_IFREG: "file", stat.S_IFLNK: "link"}


@dataclass(frozen=True, slots=True)
class Node:
    """An inode: its number, mode, size in bytes and flags (Documentation/filesystems/ext4/inodes.rst)."""

    inode: int
    mode: int
    size: int
    flags: int

    @property
    def kind(self) -> str:
        """The file type, in words."""
        return _KINDS.get(stat.S_IFMT(self.mode), "device or pipe")


class ExtFiles:
    """The files of an ext file system, read by debugfs under limits of memory and time."""

    def __init__(self, image: Path) -> None:
        self._image = image
        with image.open("rb") as file:
            self._block = 1024 << min(6, struct.unpack_from("<I", file.read(2048), 1024 + 0x18)[0])

    def _debugfs(self, requests: Sequence[str], size: int) -> bytes:
        try:
            # -c: bitmaps are not read, so damaged ones do not matter.
            return process.run(
                process.bounded(
                    ["debugfs", "-c", "-f", "-", self._image.name], memory=MEMORY, output=max(MESSAGES, size)
                ),
                deadline=DEADLINE,
                stdin="".join(f"{request}\n" for request in requests).encode(),
                capture=True,
                check=False,
                cwd=self._image.parent,
            ).stdout
        except ToolError:
            # What it did not reach will be missing, and reported as such.
            return b""

    def _temporary(self, number: int) -> Path:
        return self._image.with_name(f"{self._image.stem}.{number}")

    def nodes(self, inodes: Sequence[int]) -> dict[int, Node]:
        """Return the inodes that can be read."""
        found: dict[int, Node] = {}
        for start in range(0, len(inodes), BATCH):
            output = self._debugfs([f"inode_dump <{inode}>" for inode in inodes[start : start + BATCH]], 0)
            parts = _SECTION.split(output)
            for inode, text in zip(parts[1::2], parts[2::2], strict=True):
                raw = bytearray(128)
                rows = [(int(row[1], 8), bytes.fromhex(row[2].decode())) for row in _ROW.finditer(text)]
                for at, words in rows:
                    if at <= 112:
                        raw[at : at + 16] = words
                if not any(at == 0 for at, _ in rows):
                    continue
                mode, low = struct.unpack_from("<H2xI", raw, 0)
                flags, high = struct.unpack_from("<I", raw, 0x20)[0], struct.unpack_from("<I", raw, 0x6C)[0]
                # For directories the upper word once had another meaning.
                size = low if stat.S_ISDIR(mode) else high << 32 | low
                found[int(inode)] = Node(int(inode), mode, size, flags)
        return found

    def copies(self, nodes: Sequence[Node], limit: int) -> Iterator[tuple[Node, Path | None]]:
        """Yield each node with a file of its content, valid until the next one is yielded; None when it is unreadable.

        A file is written up to `limit` bytes only. Raises `HostError` when the host's disk is full.
        """
        for start in range(0, len(nodes), BATCH):
            part = nodes[start : start + BATCH]
            self._debugfs(
                [f"dump <{node.inode}> {self._temporary(number).name}" for number, node in enumerate(part)], limit
            )
            for number, node in enumerate(part):
                path = self._temporary(number)
                if node.flags & _INLINE and path.exists() and path.stat().st_size > node.size:
                    # debugfs copies all of the space in the inode.
                    os.truncate(path, node.size)
                whole = path.exists() and path.stat().st_size == node.size
                if not whole:
                    check_room(self._image.parent)
                yield node, path if whole else None
                path.unlink(missing_ok=True)

    def head(self, node: Node, target: Path, limit: int) -> bool:
        """Copy the first `limit` bytes of a file to `target`; return whether they could be read."""
        self._debugfs([f"dump <{node.inode}> {self._temporary(0).name}"], limit)
        path = self._temporary(0)
        if not path.exists() or path.stat().st_size < min(node.size, limit):
            check_room(self._image.parent)
            path.unlink(missing_ok=True)
            return False
        os.truncate(path, min(node.size, limit))
        path.rename(target)
        target.chmod(0o644)
        return True

    def listing(self, nodes: Sequence[Node]) -> dict[int, list[tuple[bytes, int]] | None]:
        """Return name and inode of each entry of the directories; None for one that cannot be read."""
        found: dict[int, list[tuple[bytes, int]] | None] = {node.inode: None for node in nodes}
        sound = [node for node in nodes if node.size <= DIRECTORY and not node.flags & _ENCRYPTED]
        for node, path in self.copies(sound, DIRECTORY):
            if path is not None:
                try:
                    inline = bool(node.flags & _INLINE)
                    found[node.inode] = dirents.entries(path.read_bytes(), self._block, inline=inline)
                except dirents.DamagedDirectoryError:
                    continue
        return found

    def children(self, node: Node) -> dict[bytes, Node | None] | None:
        """Return the entries of a directory, or None if it is not a directory or cannot be read."""
        entries = self.listing([node])[node.inode]
        if entries is None:
            return None
        nodes = self.nodes([inode for _, inode in entries])
        return {name: nodes.get(inode) for name, inode in entries}

    def extract(self, top: Node, prefix: bytes, directory: Path, limits: Limits, seen: Extracted) -> None:
        """Copy the tree below `top`, named `prefix` in messages, into the new `directory`."""
        seen.paths[top.inode] = prefix
        wanted: dict[Node, list[Path]] = {}
        level = [(top, prefix, directory)]
        directory.mkdir(parents=True, exist_ok=True)
        for _ in range(DEPTH):
            below: list[tuple[Node, bytes, Path]] = []
            for node, path, target in self._level(level, limits, seen):
                if node.kind == "directory":
                    target.mkdir()
                    below.append((node, path, target))
                else:
                    wanted.setdefault(node, []).append(target)
            level = below
            if not level:
                break
        for _, path, _ in level:
            seen.limit(path, f"directories deeper than {DEPTH}")
        for node, source in self.copies(list(wanted), limits.size):
            if source is None:
                seen.lose(seen.paths[node.inode], _UNREADABLE)
                seen.files -= len(wanted[node])
                seen.size -= node.size
                continue
            first, *links = wanted[node]
            source.rename(first)
            first.chmod(0o755 if node.mode & 0o100 else 0o644)
            for link in links:
                link.hardlink_to(first)

    def _level(
        self, level: Sequence[tuple[Node, bytes, Path]], limits: Limits, seen: Extracted
    ) -> Iterator[tuple[Node, bytes, Path]]:
        """Extract the entries of the directories in `level` and count them; yield their subdirectories."""
        listed = self.listing([node for node, _, _ in level])
        for parent, path, _ in level:
            self._cut(listed[parent.inode], path, limits, seen)
        nodes = self.nodes(sorted({inode for found in listed.values() for _, inode in found or ()}))
        for parent, path, place in level:
            found = listed[parent.inode]
            if found is None:
                seen.lose(path, "the directory is encrypted" if parent.flags & _ENCRYPTED else _UNREADABLE)
            for name, inode in self._sound(found or (), path, seen):
                node, name_path, target = nodes.get(inode), path + b"/" + name, place / os.fsdecode(name)
                known = inode in seen.paths
                if node is None or node.mode == 0:
                    seen.lose(name_path, f"its inode {inode} cannot be read")
                elif self._takes(node, name_path, target, limits, seen, known=known):
                    seen.files += 1
                    seen.size += 0 if known or node.kind == "directory" else node.size
                    seen.paths.setdefault(inode, name_path)
                    yield node, name_path, target

    @staticmethod
    def _cut(entries: list[tuple[bytes, int]] | None, path: bytes, limits: Limits, seen: Extracted) -> None:
        """Truncate a listing to the number of entries that may still be extracted."""
        room = max(0, limits.files - seen.files)
        if entries is not None and len(entries) > room:
            seen.limit(path, f"more than {limits.files} files", len(entries) - room)
            del entries[room:]

    @staticmethod
    def _takes(node: Node, path: bytes, target: Path, limits: Limits, seen: Extracted, *, known: bool) -> bool:
        """Return whether the entry at `path` is to be extracted; record why if it is not."""
        if len(os.fsencode(target)) > PATH:
            seen.limit(path, f"paths longer than {PATH} bytes")
        elif seen.files >= limits.files:
            seen.limit(path, f"more than {limits.files} files")
        elif node.kind == "directory" and (known or node.inode == ROOT):
            seen.lose(path, "a directory that is in two places")
        elif node.kind not in {"directory", "file"}:
            seen.leave(path, f"a {node.kind}")
        elif node.flags & _ENCRYPTED:
            seen.lose(path, f"the {node.kind} is encrypted")
        elif node.kind == "file" and not known and seen.log + seen.size + node.size > limits.size:
            seen.limit(path, f"more than {limits.size} bytes in all")
        else:
            return True
        return False

    @staticmethod
    def _sound(entries: Sequence[tuple[bytes, int]], path: bytes, seen: Extracted) -> Iterator[tuple[bytes, int]]:
        taken: set[bytes] = set()
        for name, inode in entries:
            if not name or b"/" in name or b"\0" in name:
                seen.lose(path + b"/" + name, "a name that is not valid")
            elif name in taken:
                seen.lose(path + b"/" + name, "a name that occurs twice")
            else:
                taken.add(name)
                yield name, inode


_UNREADABLE = "cannot be read"
