"""A directory in memory, if there is enough of it, for data that is written once, read once and removed.

Some forty thousand small files cost seconds on a disk's file system that a tmpfs saves.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from roost.host import capacity

#: The tmpfs that every Linux has, usually half the size of the memory.
SHARED = Path("/dev/shm")
#: Bytes that are left for other users.
SPARE = 2 << 30
#: Files and directories that must be available: a tree has some forty thousand.
INODES = 1_000_000


def place(room: int, shared: Path = SHARED) -> Path | None:
    """Return the shared directory in memory, or None.

    It must have at least `room` bytes free, allow programs to run from it, and keep extended attributes.
    """
    try:
        status = os.statvfs(shared)
        free = min(status.f_bavail * status.f_frsize, capacity.memory_free())
        if free < room + SPARE or status.f_favail < INODES or status.f_flag & os.ST_NOEXEC:
            return None
        with tempfile.NamedTemporaryFile(dir=shared) as file:
            # A tmpfs supports these since Linux 6.6.
            os.setxattr(file.name, "user.roost", b"1")
    except OSError:
        return None
    return shared
