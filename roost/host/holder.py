"""The command that holds a lock: the kernel has its process, and the process its command line."""

from __future__ import annotations

import os
import re
from pathlib import Path

from roost.host import files

LOCKS = Path("/proc/locks")
#: Most bytes to read of the kernel's list of locks, and of a command line.
_LIST, _LINE = 4 << 20, 4096
#: A line of proc_locks(5) for a held lock of flock(2): process, device, inode. The line of a waiting process has `->`.
_HELD = re.compile(r"^\d+: FLOCK\s+ADVISORY\s+\w+\s+(\d+)\s+([0-9a-f]+):([0-9a-f]+):(\d+) ", re.MULTILINE)
_TASK = re.compile(r"[a-z][a-z-]{1,30}")


def command(path: Path) -> str | None:
    """Return the command of roost that holds the lock file `path`, such as "inv run"; None if it is not known.

    The first of several holders is reported. The holder is not known in another process namespace, or on a file system
    whose device numbers differ from those of stat(2).
    """
    try:
        status = path.stat()
        text = files.read_text(LOCKS, _LIST, errors="replace")
    except OSError:
        return None
    wanted = (os.major(status.st_dev), os.minor(status.st_dev), status.st_ino)
    for process, major, minor, inode in _HELD.findall(text):
        if (int(major, 16), int(minor, 16), int(inode)) == wanted and int(process) != os.getpid():
            task = _task(int(process))
            if task is not None:
                return f"inv {task}"
    return None


def _task(process: int) -> str | None:
    """Return the task that a process runs; None if it is not a process of roost."""
    try:
        with Path("/proc", str(process), "cmdline").open("rb") as file:
            words = [os.fsdecode(word) for word in file.read(_LINE).split(b"\0")]
    except OSError:
        return None
    for number, word in enumerate(words):
        if word == "roost" or Path(word).name == "inv":
            # Flags may come first.
            task = next((one for one in words[number + 1 :] if not one.startswith("-")), "")
            return task if _TASK.fullmatch(task) else None
    return None
