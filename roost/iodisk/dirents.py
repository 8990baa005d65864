"""Parse the entries of an ext directory from its blocks. Pure.

Names are delimited by their length, never by their content (Documentation/filesystems/ext4/directory.rst). The index
nodes of a hashed directory look like empty entries when read as a list, and so do the checksums of its blocks.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator

#: An inline directory starts with the inode number of its parent; the rest of it is in an attribute of the inode.
_PARENT, _IN_INODE = 4, 60
_HEAD = 8


class DamagedDirectoryError(ValueError):
    """The bytes are not a valid directory."""


def entries(data: bytes, block: int, *, inline: bool = False) -> list[tuple[bytes, int]]:
    """Return name and inode of each entry except `.` and `..`; `block` is the file system's block size in bytes.

    Raises `DamagedDirectoryError` for inconsistent lengths.
    """
    if inline:
        parts = [data[_PARENT:_IN_INODE], data[_IN_INODE:]]
    elif len(data) % block:
        raise DamagedDirectoryError("its size is not a multiple of the block size")
    else:
        parts = [data[start : start + block] for start in range(0, len(data), block)]
    return [one for part in parts for one in _block(part, len(part))]


def _block(data: bytes, size: int) -> Iterator[tuple[bytes, int]]:
    at = 0
    while at < size:
        if size - at < _HEAD:
            raise DamagedDirectoryError("an entry is cut off")
        inode, length, name_length = struct.unpack_from("<IHB", data, at)
        if length in {0, 0xFFFF}:
            # A length of 64 KiB cannot be stored in 16 bits.
            length = size if size == 1 << 16 else 0
        if length < _HEAD + name_length or length % 4 or at + length > size:
            raise DamagedDirectoryError("an entry has an impossible length")
        name = bytes(data[at + _HEAD : at + _HEAD + name_length])
        if inode and name not in {b".", b".."}:
            yield name, inode
        at += length
