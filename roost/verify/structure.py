"""Whether a file system that a guest left is sound: its own checker reads a copy of it, without repairs.

A superblock shows that a file system was unmounted, not that it is intact: a job can overwrite a mounted disk. Checkers
read untrusted data, so they run with limits on time and memory. A file system whose checker is not installed, or cannot
read it, is not judged, and the result says so.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from roost.host import process
from roost.host.safetext import clean

#: Seconds for one check, and bytes of memory.
DEADLINE = 300.0
MEMORY = 4 << 30
#: s_last_orphan of an ext superblock, and the feature flag of an orphan file in use (fs/ext4/ext4.h).
_LAST_ORPHAN, _RO_COMPATIBLE, _ORPHAN_PRESENT = 0xE8, 0x64, 0x10000

Judged = tuple[bool | None, str]
_SOUND: Judged = (True, "unmounted, and its structure is sound")


def check(kind: str, copy: Path) -> Judged:
    """Return whether the file system of type `kind` in the file `copy` is sound (None: unknown), and the finding.

    `kind` is a type of `roost.verify.evidence`. Raises `ToolError` when the checker does not end in time.
    """
    judge = _JUDGES.get(kind)
    return judge(copy) if judge else (None, f"roost cannot check the structure of {kind}")


def _run(copy: Path, *argv: str) -> tuple[int, list[str]] | None:
    """Return a checker's status and its lines, safe to show; None if it is not installed."""
    if process.which(argv[0]) is None:
        return None
    words = process.bounded([*argv, copy.name], memory=MEMORY)
    done = process.run(words, deadline=DEADLINE, capture=True, check=False, cwd=copy.parent)
    lines = [clean(line) for line in done.stdout[: 1 << 20].splitlines()]
    return done.returncode, [line for line in lines if line.strip()]


def _absent(tool: str, package: str) -> Judged:
    return None, f"its structure was not checked: {tool} is not installed (apt-get install {package})"


def _damaged(tool: str, lines: Iterable[str]) -> Judged:
    return False, f"its structure is damaged: {next(iter(lines), f'{tool} finds errors')}"


def _killed(tool: str, status: int) -> Judged:
    return None, f"its structure was not checked: {tool} ended with status {status}"


def _ext(copy: Path) -> Judged:
    with copy.open("rb") as file:
        superblock = file.read(2048)[1024:]
    orphans = struct.unpack_from("<I", superblock, _LAST_ORPHAN)[0]
    features = struct.unpack_from("<I", superblock, _RO_COMPATIBLE)[0]
    # Files that were deleted while open are removed by the next mount, and by -p: on the copy, as a mount would.
    how = "-p" if orphans or features & _ORPHAN_PRESENT else "-n"
    found = _run(copy, "e2fsck", "-f", how)
    if found is None:
        return _absent("e2fsck", "e2fsprogs")
    status, lines = found
    if status in (0, 1) and (status == 0 or how == "-p"):
        return _SOUND
    text = "\n".join(lines)
    if status & 8 and "unsupported feature" in text:
        return None, "its structure was not checked: this host's e2fsck does not know all of its features"
    if status < 0 or status > 15:
        return _killed("e2fsck", status)
    wrong = [line for line in lines if not re.match(r"e2fsck \d|Pass \d|.*\? (?:no|yes)$|.*: \*+ WARNING", line)]
    if status & 8 and not wrong:
        return _killed("e2fsck", status)
    return _damaged("e2fsck", wrong)


def _vfat(copy: Path) -> Judged:
    return _by_status(copy, ["fsck.vfat", "-n"], "dosfstools", rf"fsck\.fat |{re.escape(copy.name)}")


def _btrfs(copy: Path) -> Judged:
    routine = r"Opening filesystem|Checking filesystem|UUID:|\[\d/\d\]"
    return _by_status(copy, ["btrfs", "check", "--readonly"], "btrfs-progs", routine)


def _by_status(copy: Path, argv: list[str], package: str, routine: str) -> Judged:
    """Judge by the exit status of a checker: 0 for a sound file system, 1 for a damaged one.

    `routine` matches the lines that it always prints.
    """
    found = _run(copy, *argv)
    if found is None:
        return _absent(argv[0], package)
    status, lines = found
    if status == 0:
        return _SOUND
    if status != 1:
        return _killed(argv[0], status)
    return _damaged(argv[0], (line for line in lines if not re.match(routine, line)))


def _xfs(copy: Path) -> Judged:
    found = _run(copy, "xfs_repair", "-n", "-f")
    if found is None:
        return _absent("xfs_repair", "xfsprogs")
    status, lines = found
    text = "\n".join(lines)
    if "valuable metadata changes in a log" in text or status == 2:
        return False, "its log was not replayed: it was cut off while mounted"
    if status == 0:
        return _SOUND
    if status != 1 or "Cannot allocate" in text or "malloc" in text:
        return _killed("xfs_repair", status)
    routine = r"\s*- |Phase \d|No modify|Cannot get host|Repair may|the image"
    return _damaged("xfs_repair", (line for line in lines if not re.match(routine, line)))


_JUDGES: Mapping[str, Callable[[Path], Judged]] = {"ext": _ext, "vfat": _vfat, "xfs": _xfs, "btrfs": _btrfs}
#: The types whose structure can be checked.
CHECKED = frozenset(_JUDGES)
