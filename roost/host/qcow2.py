"""The header of a qcow2 image, read before any tool reads it: it can name other files of the host. Pure.

(QEMU, docs/interop/qcow2.rst: all numbers are big-endian; the backing file's name is not a C string.)
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

MAGIC = b"QFI\xfb"
#: Bytes that hold everything that is examined: the header, its extensions and the name of the backing file are in the
#: first cluster, and QEMU accepts no name longer than 1023 bytes.
HEAD = 64 << 10
#: Incompatible features (bits of the field of that name).
DIRTY, CORRUPT, EXTERNAL_DATA, COMPRESSION, EXTENDED_L2 = 1, 1 << 1, 1 << 2, 1 << 3, 1 << 4
#: QEMU's own limit on the L1 table (block/qcow2.h, QCOW_MAX_L1_SIZE), in bytes.
L1_LIMIT = 32 << 20
#: The largest accepted disk: well above what ext4 and xfs on x86 reach in practice.
LARGEST = 256 << 40
_HEADER = struct.Struct(">4sIQIIQIIQQIIQ")
_BACKING_FORMAT = 0xE2792ACA


class NotQcow2Error(ValueError):
    """Not a qcow2 image that QEMU would open; the text has the reason."""


@dataclass(frozen=True, slots=True)
class Header:
    """The header of a qcow2 image; `size` is the virtual size in bytes."""

    version: int
    size: int
    backing: str | None
    backing_format: str | None
    encrypted: bool
    incompatible: int = 0
    snapshots: int = 0

    @property
    def external_data(self) -> bool:
        """Whether the data is in another file."""
        return bool(self.incompatible & EXTERNAL_DATA)

    @property
    def corrupt(self) -> bool:
        """Whether QEMU marked the image as corrupt."""
        return bool(self.incompatible & CORRUPT)


@dataclass(frozen=True, slots=True)
class Tables:
    """Where the tables of an image are: offsets in bytes, the number of L1 entries, clusters of 2^`cluster_bits`."""

    cluster_bits: int
    l1_size: int
    l1_offset: int
    refcounts: int


def is_qcow2(head: bytes) -> bool:
    """Return whether a file begins as a qcow2 image does."""
    return head[:4] == MAGIC


def read(head: bytes) -> Header:
    """Return the header in the first bytes of an image (`HEAD` of them); raise `NotQcow2Error` for anything else."""
    if len(head) < _HEADER.size or not is_qcow2(head):
        raise NotQcow2Error("it is not a qcow2 image")
    fields = _HEADER.unpack_from(head)
    _, version, at, length, cluster_bits, size, crypt, l1_size, _, _, _, snapshots, _ = fields
    if version not in (2, 3):
        raise NotQcow2Error(f"qcow2 version {version} does not exist")
    if not 9 <= cluster_bits <= 21:
        raise NotQcow2Error(f"qcow2 does not allow clusters of 2^{cluster_bits} bytes")
    if not 0 < size <= LARGEST:
        raise NotQcow2Error(f"a disk of {size} bytes is not possible")
    # An L1 entry stands for a cluster of 8-byte entries, each of which stands for a cluster.
    needed = -(-size // (1 << (2 * cluster_bits - 3)))
    if l1_size * 8 > L1_LIMIT or l1_size < needed:
        raise NotQcow2Error(f"its table of {l1_size} entries does not fit a disk of {size} bytes")
    incompatible = struct.unpack_from(">Q", head, 72)[0] if version == 3 and len(head) >= 104 else 0
    backing = None
    if at or length:
        if not at or length > 1023 or at + length > len(head):
            raise NotQcow2Error("the name of its backing file is outside its header")
        backing = head[at : at + length].decode("utf-8", "replace")
    extensions = dict(_extensions(head, version))
    kind = extensions.get(_BACKING_FORMAT)
    return Header(
        version,
        size,
        backing,
        kind.decode("utf-8", "replace") if kind is not None else None,
        crypt != 0,
        incompatible,
        snapshots,
    )


def tables(head: bytes) -> Tables:
    """Return the tables of an image whose header `read` accepts."""
    fields = _HEADER.unpack_from(head)
    return Tables(cluster_bits=fields[4], l1_size=fields[7], l1_offset=fields[8], refcounts=fields[9])


def _extensions(head: bytes, version: int) -> Iterator[tuple[int, bytes]]:
    """Yield the header's extensions until type 0: type, length, data, padded to 8 bytes each."""
    at = struct.unpack_from(">I", head, 100)[0] if version == 3 and len(head) >= 104 else 72
    while at + 8 <= len(head):
        kind, length = struct.unpack_from(">II", head, at)
        if kind == 0:
            return
        if at + 8 + length > len(head):
            raise NotQcow2Error("an extension of its header is cut off")
        yield kind, head[at + 8 : at + 8 + length]
        at += 8 + -(-length // 8) * 8
