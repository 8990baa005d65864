"""Files out of an ext or vfat file system of a stranger, without mounting it and without a virtual machine.

Everything is asked for by inode number, and every name is made by this module: so no name in the file system, however
odd, reaches a command or leads out of the target folder. Only plain files and folders come out, never a link, a device
or a set-user-ID bit; how many, how deep and how much is limited.
"""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roost.host import process
from roost.iodisk.returned import LIMITS, FileSystemCopy

#: Folders in folders; more is a trap for programs that go through a tree.
DEPTH = 64
DEADLINE = 600.0
#: Requests in one script for debugfs.
BATCH = 2000
_ROOT = "2"
#: A row of debugfs' `ls -p`: /inode/mode/uid/gid/name/size/; a name may have any byte but NUL.
_ROW = re.compile(rb"^/(\d+)/(\d{6})/\d+/\d+/(.*?)/(\d*)/$", re.MULTILINE | re.DOTALL)
_SECTION = re.compile(rb"^debugfs: ls -p <(\d+)>$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Limits:
    """How much may come out of one disk: files and folders, and bytes."""

    files: int
    size: int


@dataclass(slots=True)
class Extracted:
    """What came out: files, bytes, and what was left out and why, in words."""

    files: int = 0
    size: int = 0
    left: dict[str, int] = field(default_factory=dict)

    def leave(self, why: str, count: int = 1) -> None:
        """Count something that stays on the disk."""
        self.left[why] = self.left.get(why, 0) + count

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, a line each."""
        return tuple(f"{count} left out: {why}" for why, count in sorted(self.left.items()))


@dataclass(frozen=True, slots=True)
class _Entry:
    inode: str
    mode: int
    name: bytes
    size: int

    @property
    def kind(self) -> str:
        return {0o040000: "folder", 0o100000: "file", 0o120000: "link"}.get(self.mode & 0o170000, "device or pipe")


class ExtFiles:
    """The files of an ext file system, by debugfs under limits of memory and time."""

    def __init__(self, copy: FileSystemCopy) -> None:
        self._image = copy.path

    def _debugfs(self, requests: Sequence[str], size: int = 1 << 30) -> bytes:
        # -c: no bitmaps are read, so damaged ones do not matter.
        done = process.run(
            [*LIMITS[:-1], f"--fsize={size}", "--", "debugfs", "-c", "-f", "-", self._image.name],
            deadline=DEADLINE,
            stdin="".join(f"{request}\n" for request in requests).encode(),
            capture=True,
            check=False,
            cwd=self._image.parent,
        )
        return done.stdout

    def folders(self, inodes: Sequence[str]) -> dict[str, list[_Entry]]:
        """Return the entries of each folder, by inode number."""
        found: dict[str, list[_Entry]] = {}
        for start in range(0, len(inodes), BATCH):
            said = self._debugfs([f"ls -p <{inode}>" for inode in inodes[start : start + BATCH]])
            parts = _SECTION.split(said)
            for inode, text in zip(parts[1::2], parts[2::2], strict=True):
                found[inode.decode()] = [
                    _Entry(row[1].decode(), int(row[2], 8), row[3], int(row[4] or 0)) for row in _ROW.finditer(text)
                ]
        return found

    def entry(self, *names: bytes) -> _Entry | None:
        """Return what is at a path, links not followed, or None."""
        inode, found = _ROOT, None
        for name in names:
            entries = self.folders([inode]).get(inode, [])
            found = next((one for one in entries if one.name == name), None)
            if found is None:
                return None
            inode = found.inode
        return found

    def read(self, entry: _Entry, limit: int) -> bytes:
        """Return the first `limit` bytes of a file."""
        target = self._image.with_name(f"{self._image.stem}.one")
        target.unlink(missing_ok=True)
        try:
            self._debugfs([f"dump <{entry.inode}> {target.name}"], limit)
            return target.read_bytes()[:limit] if target.exists() else b""
        finally:
            target.unlink(missing_ok=True)

    def extract(self, top: _Entry, folder: Path, limits: Limits, seen: Extracted) -> None:
        """Copy the tree below the folder `top` into the new folder `folder`."""
        wanted: list[tuple[_Entry, Path]] = []
        visited = {_ROOT, top.inode}
        level: list[tuple[str, Path]] = [(top.inode, folder)]
        folder.mkdir(parents=True, exist_ok=True)
        for _ in range(DEPTH):
            listed = self.folders([inode for inode, _ in level])
            below: list[tuple[str, Path]] = []
            for inode, place in level:
                for entry in self._sound(listed.get(inode, []), seen):
                    if seen.files >= limits.files:
                        seen.leave(f"more than {limits.files} files")
                    elif entry.kind == "folder" and entry.inode in visited:
                        seen.leave("a folder that is in two places")
                    elif entry.kind == "folder":
                        visited.add(entry.inode)
                        seen.files += 1
                        (place / os.fsdecode(entry.name)).mkdir()
                        below.append((entry.inode, place / os.fsdecode(entry.name)))
                    elif entry.kind != "file":
                        seen.leave(f"a {entry.kind}")
                    elif seen.size + entry.size > limits.size:
                        seen.leave(f"more than {limits.size} bytes in all")
                    else:
                        seen.files += 1
                        seen.size += entry.size
                        wanted.append((entry, place / os.fsdecode(entry.name)))
            level = below
            if not level:
                break
        else:
            seen.leave(f"folders deeper than {DEPTH}", len(level))
        self._dump(wanted, limits)

    @staticmethod
    def _sound(entries: Sequence[_Entry], seen: Extracted) -> Iterator[_Entry]:
        taken: set[bytes] = set()
        for entry in entries:
            if entry.name in {b".", b".."} or entry.inode == "0":
                continue
            if not entry.name or b"/" in entry.name or b"\0" in entry.name or len(entry.name) > 255:
                seen.leave("a name that no file system has")
            elif entry.name in taken:
                seen.leave("a name that is there twice")
            else:
                taken.add(entry.name)
                yield entry

    def _dump(self, wanted: Sequence[tuple[_Entry, Path]], limits: Limits) -> None:
        for start in range(0, len(wanted), BATCH):
            part = wanted[start : start + BATCH]
            names = [f"{self._image.stem}.{number}" for number in range(len(part))]
            self._debugfs(
                [f"dump <{entry.inode}> {name}" for (entry, _), name in zip(part, names, strict=True)],
                max(1, limits.size),
            )
            for (entry, target), name in zip(part, names, strict=True):
                source = self._image.with_name(name)
                if source.exists():
                    shutil.move(source, target)
                else:
                    target.touch()
                target.chmod(0o755 if entry.mode & 0o100 else 0o644)


class VfatFiles:
    """The files of a FAT file system, by mtools: names are listed, and each is asked for alone."""

    def __init__(self, copy: FileSystemCopy) -> None:
        self._image = copy.path

    def _mtools(self, argv: Sequence[str], size: int = 1 << 30) -> process.Completed:
        return process.run(
            [*LIMITS[:-1], f"--fsize={size}", "--", *argv],
            deadline=DEADLINE,
            capture=True,
            check=False,
            cwd=self._image.parent,
            env={"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull, "TZ": "UTC"},
        )

    def read(self, path: str, limit: int) -> bytes | None:
        """Return the first `limit` bytes of the file at `path`, None when there is none."""
        done = self._mtools(["mtype", "-i", self._image.name, f"::{path}"])
        return done.stdout[:limit] if done.returncode == 0 else None

    def extract(self, top: str, folder: Path, limits: Limits, seen: Extracted) -> None:
        """Copy the tree below the folder `top` (such as `output`) into the new folder `folder`."""
        folder.mkdir(parents=True, exist_ok=True)
        listing = self._mtools(["mdir", "-b", "-/", "-a", "-i", self._image.name, f"::{top}"]).stdout
        for line in listing.decode("utf-8", "replace").splitlines():
            path = line.removeprefix("::/").rstrip()
            parts = path.rstrip("/").split("/")[1:]
            if not parts or not line.startswith("::/"):
                continue
            # `*`, `?`, `[` and `\\` are patterns for mtools.
            if any(part in {"", ".", ".."} or re.search(r"[\\*?\[\]\0]", part) for part in parts) or len(parts) > DEPTH:
                seen.leave("a name that cannot be asked for")
                continue
            target = folder.joinpath(*parts)
            if seen.files >= limits.files:
                seen.leave(f"more than {limits.files} files")
                continue
            seen.files += 1
            if path.endswith("/"):
                target.mkdir(parents=True, exist_ok=True)
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            # mtools takes a target with a colon for a drive: first to a name of ours.
            one = self._image.with_name(f"{self._image.stem}.one")
            self._mtools(["mcopy", "-n", "-i", self._image.name, f"::/{path}", one.name], limits.size)
            if not one.is_file():
                seen.leave("a file that cannot be read")
                continue
            seen.size += one.stat().st_size
            if seen.size > limits.size:
                one.unlink()
                seen.leave(f"more than {limits.size} bytes in all")
                return
            shutil.move(one, target)
            target.chmod(0o644)
