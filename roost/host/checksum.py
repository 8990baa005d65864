"""The sha256 of files, as compared by manifests, keys, seals and releases."""

from __future__ import annotations

import errno
import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

from roost.host import files

_BLOCK = 1 << 20
#: The content of a hole. One shared buffer stays in the processor's cache and costs the kernel nothing.
_ZEROS = memoryview(bytes(_BLOCK))


def sha256(path: Path) -> str:
    """Return the sha256 of a regular file as hexadecimal; holes count as zeros. Raises `OSError`."""
    digest = hashlib.sha256()
    with files.open_regular(path) as file:
        for block in _blocks(file.fileno()):
            digest.update(block)
    return digest.hexdigest()


def _blocks(descriptor: int) -> Iterator[memoryview]:
    """Yield the content of an open file from beginning to end; holes are not read.

    For a file that grows or shrinks meanwhile, the result is one that a plain reader might have seen, and reading ends.
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
            # The only exit: whatever the file system reports about holes, everything up to the end has been read.
            if count == 0:
                return
            yield buffer[:count]
            at += count


def _next_data(descriptor: int, at: int) -> int:
    """Return where the next data begins: the end of file if only a hole is left, `at` if unknown."""
    try:
        return max(at, os.lseek(descriptor, at, os.SEEK_DATA))
    except OSError as error:
        # lseek(2); a file system without support for the request answers EINVAL.
        return max(at, os.fstat(descriptor).st_size) if error.errno == errno.ENXIO else at


def _next_hole(descriptor: int, at: int) -> int | None:
    """Return where the next hole begins, or None if unknown: then the file is read to its end."""
    try:
        found = os.lseek(descriptor, at, os.SEEK_HOLE)
    except OSError:
        return None
    return found if found > at else None
