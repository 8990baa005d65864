"""What an io disk may be written over: nothing, or a disk that is not a build's own.

A cell of a file of jobs is easily the wrong one (two columns exchanged, a name without its ending), and a file of the
user is gone then. In the directory of a build the io disk's usual name is that of the build's own.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from roost.host import files, qcow2
from roost.store import manifest

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
    return None if not head or _is_disk(head) else "already exists and is not a disk"


def is_built(place: Path) -> bool:
    """Return whether a path, links followed, is that of a file of a build: the manifest.json beside it lists it."""
    try:
        status = (place.parent / manifest.NAME).stat()
    except (OSError, ValueError):
        return False
    return place.name in _built(place.parent, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _built(directory: Path, _mtime_ns: int, _size: int) -> frozenset[str]:
    """Return the files of a build. A file of jobs asks for each row."""
    record = manifest.read(directory)
    return frozenset(file.name for file in record.files) if record is not None else frozenset()


def _is_disk(head: bytes) -> bool:
    return qcow2.is_qcow2(head) or head[_EXT_MAGIC] == b"\x53\xef" or head[_BOOT_SIGNATURE] == b"\x55\xaa"
