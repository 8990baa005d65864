"""What a disk of a file of jobs may be written over: a disk, or nothing.

A cell is easily the wrong one (two columns exchanged, a name without its ending), and a file of the user is gone then.
"""

from __future__ import annotations

from pathlib import Path

from roost.host import files, qcow2

#: Bytes from the start that tell a disk: the superblock of ext2 to ext4 begins at 1024, its magic at 56 from there.
_HEAD = 2048
_EXT_MAGIC = slice(1080, 1082)
#: What ends a boot sector, and with it the first sector of vfat.
_BOOT_SIGNATURE = slice(510, 512)


def problem_of(path: Path) -> str | None:
    """Return why no disk is written to `path` (links are followed), or None: it is free, empty or a disk."""
    try:
        with files.open_regular(path) as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be replaced: {error.strerror}"
    return None if not head or _is_disk(head) else "is there already, and it is not a disk"


def _is_disk(head: bytes) -> bool:
    return qcow2.is_qcow2(head) or head[_EXT_MAGIC] == b"\x53\xef" or head[_BOOT_SIGNATURE] == b"\x55\xaa"
