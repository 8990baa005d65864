"""Whether an io disk may replace an existing file: only a disk that does not belong to a build.

A cell of a file of jobs can easily be wrong (two columns exchanged, a name without its extension), and would cost a
user's file. In the directory of a build, the io disk's usual name is that of the build's own.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path

from roost.host import files, qcow2
from roost.store import manifest

#: Bytes needed to recognize a disk: the superblock of ext2 to ext4 begins at 1024, with its magic at offset 56.
_HEAD = 2048
_EXT_MAGIC = slice(1080, 1082)
#: The signature of a boot sector, and so of the first sector of vfat.
_BOOT_SIGNATURE = slice(510, 512)


def problem_of(path: Path) -> str | None:
    """Return why a disk must not be written to `path` (links are followed), or None: it is free, empty or a disk."""
    try:
        with files.open_regular(path) as file:
            head = file.read(_HEAD)
    except FileNotFoundError:
        return None
    except OSError as error:
        return f"cannot be replaced: {error.strerror}"
    return None if not head or _is_disk(head) else "already exists and is not a disk"


def is_built(place: Path) -> bool:
    """Return whether a path, links followed, is a file of a build: listed in the manifest.json beside it."""
    try:
        status = (place.parent / manifest.NAME).stat()
    except (OSError, ValueError):
        return False
    return place.name in _built(place.parent, status.st_mtime_ns, status.st_size)


@lru_cache(maxsize=8)
def _built(directory: Path, _mtime_ns: int, _size: int) -> frozenset[str]:
    """Return the files of a build; cached, because it is called for each row of a file of jobs."""
    record = manifest.read(directory)
    return frozenset(file.name for file in record.files) if record is not None else frozenset()


def _is_disk(head: bytes) -> bool:
    return qcow2.is_qcow2(head) or head[_EXT_MAGIC] == b"\x53\xef" or head[_BOOT_SIGNATURE] == b"\x55\xaa"
