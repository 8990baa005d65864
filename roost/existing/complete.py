"""Whether a qcow2 image is as long as its own tables say: an interrupted copy is shorter.

`qemu-img check` examines far more, but needs the tool and reads every table; this is for `check` of a recipe.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from roost.errors import ImageError
from roost.host import files, qcow2

#: Bytes of second-level tables that are read at most: those of 64 GiB with clusters of the usual size.
MOST = 8 << 20
#: The bits of an entry of either table that are an offset in the file (QEMU, docs/interop/qcow2.rst).
_OFFSET = 0x00FF_FFFF_FFFF_FE00
_COMPRESSED = 1 << 62


def problem(image: Path) -> ImageError | None:
    """Return that a qcow2 image is cut off, if its tables or its clusters begin after its end; else None.

    It is one that `image_file.look` accepts. Raises `OSError` if it cannot be read.
    """
    with files.open_regular(image) as file:
        size = file.seek(0, 2)
        file.seek(0)
        if all(offset < size for offset in _offsets(cast(BinaryIO, file), size)):
            return None
    return ImageError(f"{image.name} is cut off: its tables name more than its {size} bytes", hint="fetch it again")


def _offsets(file: BinaryIO, size: int) -> Iterator[int]:
    """Yield the offsets of bytes that the image must have."""
    head = file.read(qcow2.HEAD)
    header, seen = qcow2.read(head), qcow2.tables(head)
    bits, l1_bytes = seen.cluster_bits, 8 * seen.l1_size
    yield seen.refcounts
    if not l1_bytes:
        return
    yield seen.l1_offset + l1_bytes - 1
    tables = sorted({entry & _OFFSET for entry in _table(file, seen.l1_offset, l1_bytes)} - {0})
    yield from tables
    step = 2 if header.incompatible & qcow2.EXTENDED_L2 else 1
    # The last tables first: they are the newest, and their clusters are near the end.
    for at in tables[::-1][: MOST >> bits]:
        for entry in _table(file, at, 1 << bits)[::step]:
            yield entry & ((1 << (70 - bits)) - 1) if entry & _COMPRESSED else entry & _OFFSET


def _table(file: BinaryIO, at: int, size: int) -> array[int]:
    file.seek(at)
    data = file.read(size)
    found = array("Q", data[: len(data) // 8 * 8])
    found.byteswap()
    return found
