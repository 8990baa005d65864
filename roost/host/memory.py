"""A directory in memory, if there is plenty of it, for what is written once, read once and thrown away.

Some forty thousand small files cost a file system on a disk seconds that a tmpfs does not take.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from roost.host import capacity

#: A tmpfs that every Linux has, usually half as large as the memory.
SHARED = Path("/dev/shm")
#: Bytes that are left to everybody else.
SPARE = 2 << 30
#: Files and directories that must be left: a tree has some forty thousand.
INODES = 1_000_000


def place(room: int, shared: Path = SHARED) -> Path | None:
    """Return the directory in memory that all users share, if `room` bytes and more fit there, programs can be run from
    it, and files keep their extended attributes; else None.
    """
    try:
        status = os.statvfs(shared)
        free = min(status.f_bavail * status.f_frsize, capacity.memory_free())
        if free < room + SPARE or status.f_favail < INODES or status.f_flag & os.ST_NOEXEC:
            return None
        with tempfile.NamedTemporaryFile(dir=shared) as file:
            # A tmpfs has these since Linux 6.6.
            os.setxattr(file.name, "user.roost", b"1")
    except OSError:
        return None
    return shared
