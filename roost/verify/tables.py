"""The partition table of a disk, detected by its first bytes alone. Shares no code with what wrote it.

MBR: four entries of 16 bytes at 446, 55 AA at 510. GPT: header in sector 1, which has the place of the entries (UEFI
2.10, 5.3).
"""

from __future__ import annotations

import itertools
import struct
import zlib
from dataclasses import dataclass
from typing import Literal
from uuid import UUID

SECTOR = 512
#: Bytes from the start of a disk that hold all of a table: MBR, GPT header and 128 entries of 128 bytes.
TABLE_BYTES = 34 * SECTOR
BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
SWAP_TYPES = frozenset({"82", "0657fd6d-a4ab-43c4-84e5-0933c84b4f4f"})


@dataclass(frozen=True, slots=True)
class Seen:
    """One partition: its number, type (two hex digits, or a UUID), first byte and size in bytes."""

    number: int
    type: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Table:
    """A table: its kind (None: there is none), its partitions by number, whether the first sector starts GRUB."""

    kind: Literal["mbr", "gpt"] | None
    partitions: tuple[Seen, ...]
    loader: bool
    mistake: str | None = None


def read(head: bytes) -> Table:
    """Return the table in the first `TABLE_BYTES` of a disk. Never raises: inconsistencies are a `mistake`."""
    first = head[:SECTOR]
    if len(first) < SECTOR or first[510:] != b"\x55\xaa":
        return Table(None, (), loader=False)
    # GRUB's boot.img contains its name; code that is really entered starts with a jump.
    loader = b"GRUB" in first[:440] and first[:1] in {b"\xeb", b"\xe9"}
    entries = [struct.unpack_from("<B3xB3xII", first, 446 + 16 * index) for index in range(4)]
    if any(kind == 0xEE for _, kind, _, _ in entries):
        return _gpt(head, loader=loader)
    if first[82:87] == b"FAT32" or first[54:59] in {b"FAT12", b"FAT16"}:
        # A vfat without a partition table begins with its own boot sector.
        return Table(None, (), loader=False)
    partitions = [
        Seen(index + 1, f"{kind:02x}", start * SECTOR, count * SECTOR)
        for index, (_, kind, start, count) in enumerate(entries)
        if kind != 0 and count != 0
    ]
    return Table("mbr", tuple(partitions), loader, _overlap(partitions))


def _gpt(head: bytes, *, loader: bool) -> Table:
    if len(head) < 2 * SECTOR or head[SECTOR : SECTOR + 8] != b"EFI PART":
        return Table("gpt", (), loader, "the protective MBR is not followed by a GPT header")
    size, crc = struct.unpack_from("<II", head, SECTOR + 12)
    if not 92 <= size <= SECTOR:
        return Table("gpt", (), loader, f"the GPT header says it has {size} bytes")
    header = bytearray(head[SECTOR : SECTOR + size])
    header[16:20] = bytes(4)
    if zlib.crc32(header) != crc:
        return Table("gpt", (), loader, "the GPT header's checksum is wrong")
    start, count, width, sum_of_entries = struct.unpack_from("<QIII", head, SECTOR + 72)
    entries = head[start * SECTOR : start * SECTOR + count * width]
    if width < 128 or len(entries) != count * width:
        return Table("gpt", (), loader, "the GPT entries lie where none are expected")
    if zlib.crc32(entries) != sum_of_entries:
        return Table("gpt", (), loader, "the GPT entries' checksum is wrong")
    partitions = []
    for index in range(count):
        entry = entries[index * width : (index + 1) * width]
        kind = UUID(bytes_le=entry[:16])
        if kind.int:
            begin, end = struct.unpack_from("<QQ", entry, 32)
            partitions.append(Seen(index + 1, str(kind), begin * SECTOR, (end - begin + 1) * SECTOR))
    return Table("gpt", tuple(partitions), loader, _overlap(partitions))


def _overlap(partitions: list[Seen]) -> str | None:
    ordered = sorted(partitions, key=lambda seen: seen.offset)
    for one, other in itertools.pairwise(ordered):
        if other.offset < one.offset + one.size:
            return f"partitions {one.number} and {other.number} overlap"
    return None
