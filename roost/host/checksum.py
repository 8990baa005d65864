"""The sha256 of files: what manifests, keys, seals and releases compare."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from roost.host import files

_BLOCK = 1 << 20
#: What a hole is read as. Always the same bytes: the processor's cache keeps them, and the kernel makes none.
_ZEROS = memoryview(bytes(_BLOCK))


def sha256(path: Path) -> str:
    """Return the sha256 of a regular file as hexadecimal; holes count as zeros. Raises `OSError`."""
    digest = hashlib.sha256()
    with files.open_regular(path) as file:
        for block in _blocks(file.fileno()):
            digest.update(block)
    return digest.hexdigest()


def _blocks(descriptor: int) -> Iterator[memoryview]:
    """Yield the content of an open file from its begin to its end; its holes are not read.

    A file that grows or shrinks meanwhile gives what a reader of every byte might have seen, and ends.
    """
    buffer = memoryview(bytearray(_BLOCK))
    at = 0
    while True:
        data = _next_data(descriptor, at)
        while at < data:
            hole = _ZEROS[: data - at]
            yield hole
            at += len(hole)
        end = _next_hole(descriptor, at)
        while end is None or at < end:
            count = os.preadv(descriptor, [buffer if end is None else buffer[: end - at]], at)
            # The one way out: whatever the file system says of holes, all up to the end has been read.
            if count == 0:
                return
            yield buffer[:count]
            at += count


def _next_data(descriptor: int, at: int) -> int:
    """Return where the next data begin: the end of the file where a hole is the rest, `at` where nobody knows."""
    try:
        return max(at, os.lseek(descriptor, at, os.SEEK_DATA))
    except OSError as error:
        # lseek(2); a file system that does not know the question answers EINVAL.
        return max(at, os.fstat(descriptor).st_size) if error.errno == errno.ENXIO else at


def _next_hole(descriptor: int, at: int) -> int | None:
    """Return where the next hole begins, or None: none is known, and what follows is to be read up to its end."""
    try:
        found = os.lseek(descriptor, at, os.SEEK_HOLE)
    except OSError:
        return None
    return found if found > at else None
