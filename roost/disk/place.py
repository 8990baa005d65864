"""Copies a file system from a separate file to its place on a disk: only data, holes are kept."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path

from roost.disk.layout import Extent
from roost.errors import ImageError

CHUNK = 8 << 20


def put(source: Path, disk: Path, at: Extent) -> None:
    """Copy the file `source` to the range `at` of the disk file, which must be empty there."""
    size = source.stat().st_size
    if size > at.size:
        raise ImageError(f"{source.name} ({size} bytes) is larger than its place on {disk.name} ({at.size} bytes)")
    with source.open("rb", buffering=0) as reading, disk.open("r+b", buffering=0) as writing:
        for start, end in _data(reading.fileno(), size):
            position = start
            while position < end:
                block = os.pread(reading.fileno(), min(CHUNK, end - position), position)
                if not block:
                    raise ImageError(f"{source.name} became shorter while it was read")
                position += os.pwrite(writing.fileno(), block, at.offset + position)


def _data(file: int, size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of the data in a sparse file, in bytes (lseek(2), SEEK_DATA)."""
    position = 0
    while position < size:
        try:
            start = os.lseek(file, position, os.SEEK_DATA)
        except OSError as error:
            if error.errno == errno.ENXIO:
                return
            raise
        position = os.lseek(file, start, os.SEEK_HOLE)
        yield start, position
