"""Extract files from an untrusted FAT file system with mtools: names are listed, and each is requested singly.

FAT has no checksums: fsck.fat only verifies that chains and sizes are consistent.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
from collections.abc import Sequence
from pathlib import Path

from roost.host import process
from roost.iodisk.ext_check import MEMORY
from roost.iodisk.extracted import Extracted, Limits, check_room
from roost.recipe.words import shown

DEADLINE = 600.0
#: The maximum depth of directories.
DEPTH = 64
#: The number of bytes that a tool may always write: its standard error also goes to a file.
MESSAGES = 64 << 10
#: Size limit of a listing in bytes.
LISTING = 256 << 20
#: `*`, `?`, `[` and `\` are patterns for mtools; Linux writes no names with control characters.
_ODD = re.compile(r"[\\*?\[\]\x00-\x1f\x7f\ufffd]")


def check_vfat(copy: Path) -> tuple[str, ...]:
    """Return the damage that fsck.fat finds in a copy; empty when it is sound."""
    done = process.run(
        process.bounded(["fsck.fat", "-n", copy.name], memory=MEMORY),
        deadline=DEADLINE,
        capture=True,
        check=False,
        cwd=copy.parent,
    )
    if done.returncode == 0:
        return ()
    lines = [line.strip() for line in done.text.splitlines()[1:] if line.strip()]
    return (f"fsck.fat: {shown('; '.join(lines[:3]), 300) or f'status {done.returncode}'}",)


class VfatFiles:
    """The files of a FAT file system, read by mtools under limits of memory and time."""

    def __init__(self, image: Path) -> None:
        self._image = image

    def _mtools(self, argv: Sequence[str], size: int = 1 << 30) -> process.Completed:
        return process.run(
            process.bounded(argv, memory=MEMORY, output=max(MESSAGES, size)),
            deadline=DEADLINE,
            capture=True,
            check=False,
            cwd=self._image.parent,
            env={"MTOOLS_SKIP_CHECK": "1", "MTOOLSRC": os.devnull, "TZ": "UTC"},
        )

    def listing(self, top: str, seen: Extracted, *, deep: bool = False) -> list[tuple[list[str], bool]]:
        """Return the parts of each path below the directory `top` ("" is the root), and whether it is a directory."""
        depth = ["-/"] if deep else []
        argv = ["-i", self._image.name, f"::/{top}"]
        done = self._mtools(["mdir", "-b", *depth, "-a", *argv])
        if done.returncode != 0 and (done.stdout or self._mtools(["mdir", "-a", *argv]).returncode != 0):
            # mdir -b returns the same status for an empty directory and a missing one.
            seen.lose(f"/{top}".encode(), "the directory cannot be read")
        found = []
        for line in done.stdout[:LISTING].decode("utf-8", "replace").split("\n"):
            parts = line.removeprefix("::/").rstrip("/\r").split("/")
            if not line:
                continue
            if not line.startswith("::/") or any(part in {"", ".", ".."} or _ODD.search(part) for part in parts):
                seen.lose(line.encode(), "a name that mtools cannot address")
            else:
                found.append((parts, line.endswith("/")))
        return found

    def copy(self, path: str, limit: int) -> tuple[Path | None, bool]:
        """Return a copy of the file at `path`, valid until the next call, and whether it is within `limit` bytes.

        None means that the file cannot be read. Raises `HostError` when the host's disk is full.
        """
        # mtools reads a target with a colon as a drive, so the name is chosen here.
        target = self._image.with_name(f"{self._image.stem}.one")
        target.unlink(missing_ok=True)
        done = self._mtools(["mcopy", "-n", "-i", self._image.name, f"::/{path}", target.name], limit)
        if done.returncode == 0 and target.is_file():
            return target, True
        check_room(self._image.parent)
        return None, done.returncode != -signal.SIGXFSZ

    def extract(self, top: str, directory: Path, limits: Limits, seen: Extracted) -> None:
        """Copy the tree below `top` (such as `output`) into the new `directory`."""
        directory.mkdir(parents=True, exist_ok=True)
        for parts, is_directory in self.listing(top, seen, deep=True):
            path = "/".join(parts)
            target = directory.joinpath(*parts[1:])
            if len(parts) > DEPTH:
                seen.limit(path.encode(), f"directories deeper than {DEPTH}")
                continue
            if seen.files >= limits.files:
                seen.limit(path.encode(), f"more than {limits.files} files")
                continue
            if os.path.lexists(target) and not (is_directory and target.is_dir()):
                seen.lose(path.encode(), "a name that occurs twice")
                continue
            if is_directory:
                target.mkdir(parents=True, exist_ok=True)
                seen.files += 1
                continue
            room = limits.size - seen.log - seen.size
            copy, within = self.copy(path, room)
            if copy is None and within:
                seen.lose(path.encode(), "cannot be read")
            elif copy is None or copy.stat().st_size > room:
                seen.limit(path.encode(), f"more than {limits.size} bytes in all")
            else:
                seen.files += 1
                seen.size += copy.stat().st_size
                target.parent.mkdir(parents=True, exist_ok=True)
                shutil.move(copy, target)
                target.chmod(0o644)
