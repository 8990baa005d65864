"""The names of a root tree as the layers of an archive are applied; archives are untrusted.

No name leads out of the tree: `..` is refused, and links in a path are followed inside. Removals by layers are marked
as in the OCI image specification (image-spec, layer.md: whiteouts).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import IO

from roost.errors import ImageError
from roost.host import archive_words
from roost.host.rooted import LINKS
from roost.recipe.words import shown
from roost.sources import attributes
from roost.sources.bounds import BadTarError, Header, most_names

WHITEOUT = ".wh."
OPAQUE = ".wh..wh..opq"
DEEPEST = 200
#: Bytes of a full name or a link target: PATH_MAX of Linux, less room for the path where the tree is unpacked.
LONGEST = 3800
#: The largest id of a user or group; the next one means "no id" (chown(2)).
MOST_ID = 0xFFFFFFFE


def open_layer(file: IO[bytes]) -> tarfile.TarFile:
    """Open an uncompressed tar."""
    return tarfile.open(fileobj=file, mode="r:", errors="surrogateescape", tarinfo=Header)


@dataclass(slots=True, eq=False)
class Node:
    """One name of the tree: its header, the layer with its content, and the names below it."""

    info: tarfile.TarInfo
    layer: int
    below: dict[str, Node] = field(default_factory=dict)

    @property
    def content(self) -> tuple[int, int]:
        """The identity of a file's content: hard links share it."""
        return self.layer, self.info.offset_data


class Tree:
    """The names of a root tree while layers are applied."""

    def __init__(self) -> None:
        self.root = Node(directory("", 0o755), 0)
        self.count = 0
        self.devices = 0
        self._most = most_names()
        self._devices: set[tuple[str, ...]] = set()

    def lay(self, archive: tarfile.TarFile, layer: int, *, whiteouts: bool) -> None:
        """Apply one layer to the tree: first its removals, then its files."""
        members: list[tuple[tuple[str, ...], tarfile.TarInfo]] = []
        for member in archive:
            if len(members) >= self._most:
                raise ImageError(f"the archive has more than {self._most} names")
            # Other records, name and size, are in the member itself.
            member.pax_headers = attributes.carried(member.pax_headers)
            members.append((_parts(member.name), member))
        _ended(archive)
        if whiteouts:
            for parts, _ in members:
                if parts and parts[-1].startswith(WHITEOUT):
                    self._take_away(parts)
            members = [(parts, member) for parts, member in members if not (parts and parts[-1].startswith(WHITEOUT))]
        for parts, member in members:
            self._add(parts, member, layer)

    def _take_away(self, parts: tuple[str, ...]) -> None:
        parent = self.find(parts[:-1])
        if parent is None:
            return
        if parts[-1] == OPAQUE:
            parent.below.clear()
        else:
            parent.below.pop(parts[-1].removeprefix(WHITEOUT), None)

    def _add(self, parts: tuple[str, ...], member: tarfile.TarInfo, layer: int) -> None:
        if not parts:
            if member.isdir():
                self.root.info = member
            return
        if member.ischr() or member.isblk() or (member.islnk() and _parts(member.linkname) in self._devices):
            self.devices += 1
            self._devices.add(parts)
            return
        self._devices.discard(parts)
        if not (0 <= member.uid <= MOST_ID and 0 <= member.gid <= MOST_ID):
            raise ImageError(f"{shown_name(member.name)} belongs to {member.uid}:{member.gid}: Linux has no such ids")
        parent = self._parent(parts[:-1])
        name = parts[-1]
        existing = parent.below.get(name)
        node = Node(member, layer)
        if member.islnk():
            target = self.find(_parts(member.linkname), last=False)
            if target is None or target.info.isdir():
                raise ImageError(
                    f"{shown_name(member.name)} is a hard link to {shown_name(member.linkname)}, which is not a file"
                )
            node = Node(target.info, target.layer)
        elif member.isdir() and existing is not None and existing.info.isdir():
            node.below = existing.below
        elif member.issym() and (not 0 < len(os.fsencode(member.linkname)) <= LONGEST or "\0" in member.linkname):
            raise ImageError(f"{shown_name(member.name)} is a symbolic link that no file system allows")
        elif not (member.isreg() or member.isdir() or member.issym() or member.isfifo()):
            raise ImageError(f"{shown_name(member.name)} has an unsupported tar entry type")
        if existing is None:
            self.count += 1
            if self.count > self._most:
                raise ImageError(f"the tree has more than {self._most} names")
        parent.below[name] = node

    def put(self, path: str, info: tarfile.TarInfo) -> None:
        """Add a name that is not in any layer, without content."""
        self._add(_parts(path), info, 0)

    def find(self, parts: Sequence[str], *, last: bool = True) -> Node | None:
        """Return the node at a path, links followed inside; the last one only if `last`. A loop gives None."""
        return self._follow(parts, last=last, make=False)

    def _parent(self, parts: tuple[str, ...]) -> Node:
        """Return the directory for a new name.

        Links in the path are followed inside; missing directories are made.
        """
        found = self._follow(parts, last=True, make=True)
        if found is None:
            raise ImageError(f"/{shown_name('/'.join(parts))} is reached through a loop of links")
        return found

    def _follow(self, parts: Sequence[str], *, last: bool, make: bool) -> Node | None:
        todo, node, links = list(parts), self.root, 0
        trail: list[Node] = []
        while todo:
            part = todo.pop(0)
            if part == "..":
                node = trail.pop() if trail else self.root
                continue
            child = node.below.get(part)
            if child is None or (make and not (child.info.isdir() or child.info.issym())):
                if not make:
                    return None
                child = Node(directory(part, 0o755), 0)
                node.below[part] = child
                self.count += 1
            if child.info.issym() and (todo or last):
                links += 1
                if links > LINKS:
                    return None
                if child.info.linkname.startswith("/"):
                    node, trail = self.root, []
                todo = [*pieces(child.info.linkname), *todo]
                continue
            trail.append(node)
            node = child
        return node

    def walk(self) -> Iterator[tuple[str, Node]]:
        """Yield every name with its node, sorted, a directory before its content."""
        stack = [("", self.root)]
        while stack:
            path, node = stack.pop()
            yield path, node
            stack += [(f"{path}/{name}", node.below[name]) for name in sorted(node.below, reverse=True)]


def _ended(archive: tarfile.TarFile) -> None:
    """Raise unless the archive ends at its end mark: tarfile takes a broken header for the end."""
    file = archive.fileobj
    assert file is not None
    file.seek(archive.offset)
    block = file.read(tarfile.BLOCKSIZE)
    if len(block) < tarfile.BLOCKSIZE or any(block):
        raise BadTarError(archive_words.CUT)


def directory(name: str, mode: int) -> tarfile.TarInfo:
    """Return the header of a directory that no layer has."""
    info = tarfile.TarInfo(name)
    info.type, info.mode = tarfile.DIRTYPE, mode
    return info


def pieces(path: str) -> list[str]:
    """Return the parts of a path without empty ones and dots."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _parts(name: str) -> tuple[str, ...]:
    parts = tuple(pieces(name))
    if ".." in parts:
        raise ImageError(
            f"the archive has a path that leads out of it: {shown_name(name)}",
            hint="pack the tree again from inside: tar -C TREE -cf ARCHIVE .",
        )
    sizes = [len(os.fsencode(part)) for part in parts]
    if len(parts) > DEEPEST or "\0" in name or max(sizes, default=0) > 255 or sum(sizes) + len(sizes) > LONGEST:
        raise ImageError(f"the archive has a name that no file system allows: {shown_name(name)}")
    return parts


def shown_name(name: str) -> str:
    """Return the name of an archive's member as messages show it."""
    return shown(name, 200)
