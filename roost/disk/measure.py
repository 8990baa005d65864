"""The space that a tree takes in a file system: blocks by file, directories, inodes.

The measure is based on names and sizes alone, not on how the host's file system stores them: the same tree has the same
measure everywhere, and so gives a disk of the same size. Sparse files count in full; the writer checks afterwards what
was used, and shrinks.
"""

from __future__ import annotations

import os
import stat
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

from roost.errors import ImageError
from roost.host import process
from roost.host.namespace import Namespace

BLOCK = 4096
#: A symbolic link shorter than this is stored in its inode (ext4: i_block of 60 bytes, with a NUL).
INODE_LINK = 60
#: Usable bytes of a directory block: without its checksum and the gap left by the next name.
DIRECTORY_BLOCK = BLOCK - 12 - 40
#: A file has 12 direct blocks in ext2 and ext3, and 1024 more for each indirect block.
DIRECT = 12
PER_INDIRECT = BLOCK // 4
#: Above this size a file may need blocks for its extents: at best, four of 128 MiB fit into the inode.
INODE_EXTENTS = 64 << 20


class Entry(NamedTuple):
    """One name of a tree: path below the root (no leading slash, empty for the root itself), and its lstat data.

    `type` is find's %y: f, d, l, c, b, p or s. `file` identifies hard links: the same for all names of one file.
    """

    path: bytes
    type: str
    file: str
    links: int
    size: int
    mode: int
    uid: int
    gid: int
    mtime: int


@dataclass(frozen=True, slots=True)
class Content:
    """The content of a file system: blocks of 4 KiB (data, directories, extents) and inodes."""

    blocks: int
    inodes: int

    def __add__(self, other: Content) -> Content:
        """Return the sum of both."""
        return Content(self.blocks + other.blocks, self.inodes + other.inodes)


def clamp(tree: Path, epoch: int, namespace: Namespace, log: Path) -> None:
    """Limit every modification time in `tree` to `epoch` (seconds since 1970)."""
    process.run(
        namespace.argv(["find", tree, "-newermt", f"@{epoch}", "-exec", "touch", "-h", "-d", f"@{epoch}", "{}", "+"]),
        deadline=600,
        log=log,
        what=f"cannot set the times in {tree}",
    )


def listing(tree: Path, namespace: Namespace, log: Path) -> tuple[Entry, ...]:
    """Return all names of `tree`, unordered; owners as seen in the namespace."""
    done = process.run(
        namespace.argv(["find", tree, "-printf", r"%y %D:%i %n %s %m %U %G %T@ %P\0"]),
        deadline=600,
        log=log,
        capture=True,
        what=f"cannot list {tree}",
    )
    return tuple(map(_entry, done.stdout.split(b"\0")[:-1]))


def own_listing(tree: Path) -> tuple[Entry, ...]:
    """Return the same as `listing` for a `tree` that the caller has just made; everything belongs to root."""
    top = os.fsencode(tree)
    found, waiting = [_own_entry(b"", os.lstat(top))], [b""]
    while waiting:
        directory = waiting.pop()
        with os.scandir(os.path.join(top, directory)) as entries:  # noqa: PTH118 - names are bytes
            for one in entries:
                path = directory + b"/" + one.name if directory else one.name
                entry = _own_entry(path, one.stat(follow_symlinks=False))
                found.append(entry)
                if entry.type == "d":
                    waiting.append(path)
    return tuple(found)


def _own_entry(path: bytes, status: os.stat_result) -> Entry:
    kind = {"-": "f"}.get(letter := stat.filemode(status.st_mode)[0], letter)
    file, mode = f"{status.st_dev}:{status.st_ino}", stat.S_IMODE(status.st_mode)
    return Entry(path, kind, file, status.st_nlink, status.st_size, mode, 0, 0, int(status.st_mtime))


def _entry(record: bytes) -> Entry:
    kind, file, links, size, mode, uid, gid, mtime, path = record.split(b" ", 8)
    return Entry(
        path,
        kind.decode(),
        file.decode(),
        int(links),
        int(size),
        int(mode, 8),
        int(uid),
        int(gid),
        int(mtime.split(b".")[0]),
    )


def below(entries: Iterable[Entry], mount: str, others: Sequence[str]) -> tuple[Entry, ...]:
    """Return the entries of the file system mounted on `mount`, without those below the `others`.

    The mount point of another file system stays, as an empty directory. Paths are relative to `mount` then.
    """
    prefix = b"" if mount == "/" else mount[1:].encode() + b"/"
    cuts = tuple(other[1:].encode() + b"/" for other in others if other not in ("/", mount))
    inner = [cut for cut in cuts if cut.startswith(prefix)]
    found = []
    for entry in entries:
        path = entry.path + b"/"
        if not path.startswith(prefix) or any(path.startswith(cut) and path != cut for cut in inner):
            continue
        found.append(entry._replace(path=entry.path[len(prefix) :]))
    return tuple(found)


def content(entries: Iterable[Entry], *, extents: bool) -> Content:
    """Return the space of the entries in an ext file system with 4 KiB blocks, with or without extents."""
    blocks = inodes = 0
    seen: set[str] = set()
    names: dict[bytes, int] = defaultdict(int)
    for entry in entries:
        if entry.path:
            directory, _, name = entry.path.rpartition(b"/")
            names[directory] += 8 + (len(name) + 3) // 4 * 4
        if entry.type == "d":
            # `.` and `..` take 12 bytes each.
            names[entry.path] += 24
        elif entry.links > 1:
            if entry.file in seen:
                continue
            seen.add(entry.file)
        inodes += 1
        if entry.type == "f" or (entry.type == "l" and entry.size >= INODE_LINK):
            blocks += _file_blocks(entry.size, extents)
    blocks += sum(-(-used // DIRECTORY_BLOCK) for used in names.values())
    return Content(blocks, inodes)


def _file_blocks(size: int, extents: bool) -> int:
    data = -(-size // BLOCK)
    if extents:
        return data + (1 + data // (BLOCK // 12 * 1024) if size > INODE_EXTENTS else 0)
    if data <= DIRECT:
        return data
    indirect = -(-(data - DIRECT) // PER_INDIRECT)
    return data + indirect + (1 + indirect // PER_INDIRECT if indirect > 1 else 0)


def mount_point(entries: Iterable[Entry], mount: str) -> bool:
    """Return whether the directory `mount` exists in a tree.

    Raises `ImageError` when a part of it is a link or not a directory: the mount would hide another directory.
    """
    parts = mount.encode().strip(b"/").split(b"/")
    parents = {b"/".join(parts[: count + 1]) for count in range(len(parts))}
    kinds = {entry.path: entry.type for entry in entries if entry.path in parents}
    for path, kind in sorted(kinds.items()):
        if kind != "d":
            raise ImageError(
                f"{mount} cannot be a mount point: /{path.decode('utf-8', 'replace')} in the tree is not a directory",
                hint="mount it elsewhere",
            )
    return len(kinds) == len(parents)
