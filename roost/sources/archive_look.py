"""A bounded look at the archive of a given tree, before a build reads all of it.

It finds only what a build is certain to refuse: an empty file, another type, an archive that is cut off early, and a
plain tar that is cut off anywhere.
"""

from __future__ import annotations

import os
import tarfile
from pathlib import Path
from typing import BinaryIO, cast

from roost.errors import ImageError
from roost.host import archive_words, files
from roost.host.decompress import CorruptError, LookaheadReader, Unpacked
from roost.recipe.words import shown
from roost.sources import compression
from roost.sources.layers import HEAD

#: Bytes that are decompressed at most.
MOST = 32 << 20
_BLOCK = tarfile.BLOCKSIZE


def refused(path: Path) -> ImageError | None:
    """Return why a build would refuse an archive, as far as a look can tell. Raises `OSError` if it is unreadable."""
    with files.open_regular(path) as file:
        head = file.read(HEAD)
        kind = compression.kind_of(head)
        if kind is not None:
            file.seek(0)
            return _unpacked(path.name, kind, cast(BinaryIO, file))
        size = os.fstat(file.fileno()).st_size
        file.seek(max(0, size - _BLOCK))
        return _judged(path.name, head, file.read(_BLOCK))


def _unpacked(name: str, kind: str, file: BinaryIO) -> ImageError | None:
    stream = Unpacked(LookaheadReader(file))
    head, tail, left = b"", b"", MOST
    try:
        while data := stream.read():
            head += data[: HEAD - len(head)]
            tail = (tail + data)[-_BLOCK:]
            left -= len(data)
            if left < 0:
                return _judged(name, head, b"")
    except CorruptError as error:
        if "memory" in str(error.__cause__).lower():
            # A larger window than this look affords.
            return None
        why = str(error).rpartition(": ")[2]
        return ImageError(f"{name} is not a complete {kind} file: {why}", hint=archive_words.AGAIN)
    return _judged(name, head, tail)


def _judged(name: str, head: bytes, tail: bytes) -> ImageError | None:
    """Judge the first bytes of a tar and its last block, empty if that is not known."""
    if not head:
        return ImageError(f"{name} is empty: it is not a complete tar archive", hint=archive_words.AGAIN)
    try:
        tarfile.TarInfo.frombuf(head[:_BLOCK], "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        if len(head) >= _BLOCK and not any(head[:_BLOCK]):
            # An archive without members; the build tells what is behind it.
            return None
        return compression.foreign(name, head) or _incomplete(name, archive_words.told(error))
    # A tar ends with zeros, and nothing may follow them.
    return _incomplete(name, f"{archive_words.CUT}, or something follows it") if any(tail) else None


def _incomplete(name: str, why: str) -> ImageError:
    return ImageError(f"{name} is not a complete tar archive: {shown(why, 100)}", hint=archive_words.AGAIN)
