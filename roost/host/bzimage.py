"""x86 kernels: release, builder, compression, and what can start the unpacked kernel.

(Linux, Documentation/arch/x86/boot.rst: "HdrS" at 0x202, protocol 2.08 and later for the payload's place.)
"""

from __future__ import annotations

import io
import re
import struct
from dataclasses import dataclass
from pathlib import Path

from roost.host import safetext
from roost.host.decompress import Compression, CorruptError, compression, unpack

#: Bytes that hold the header and, in practice, the release.
HEAD = 65536
#: Upper limits for a packed and an unpacked kernel.
MAX_PACKED = 256 << 20
MAX_UNPACKED = 1 << 30
#: Offset of the header's magic.
_MAGIC_AT, _MAGIC = 0x202, b"HdrS"
#: Types of Xen's ELF notes (Xen, public/elfnote.h): the PV entry point, which exists only with CONFIG_XEN_PV, and the
#: PVH entry point, which QEMU also uses to start an ELF kernel.
_XEN_ENTRY, _PVH_ENTRY = 1, 18


@dataclass(frozen=True, slots=True)
class BzImage:
    """A kernel's header; `compression` is None when the payload has no magic known to Linux' build."""

    release: str
    banner: str
    compression: Compression | None
    payload: int
    length: int

    @property
    def version(self) -> str:
        """The distribution's version of this build, such as 6.1.192-2; the release if it is not recorded."""
        found = re.search(r"#\d+ .*?\b(?:Debian|Ubuntu) ([0-9][A-Za-z0-9.+~:-]*)", self.banner)
        return found[1] if found else self.release


def is_bzimage(head: bytes) -> bool:
    """Return whether a file begins as an x86 kernel does."""
    return head.startswith(_MAGIC, _MAGIC_AT)


def parse(head: bytes) -> BzImage | None:
    """Parse the first `HEAD` bytes; return None when they are not an x86 kernel that a boot loader can start."""
    if len(head) < 0x250 or not is_bzimage(head):
        return None
    protocol, version = struct.unpack_from("<H", head, 0x206)[0], struct.unpack_from("<H", head, 0x20E)[0] + 0x200
    text = head[version : version + 512].split(b"\0")[0].decode("ascii", "replace")
    banner = safetext.printable(text)
    release = banner.split(" ")[0]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+~-]{0,127}", release):
        return None
    payload = length = 0
    if protocol >= 0x208:
        offset, length = struct.unpack_from("<II", head, 0x248)
        payload = ((head[0x1F1] or 4) + 1) * 512 + offset
    return BzImage(release, banner, None, payload, length)


def read(path: Path) -> BzImage | None:
    """Return the header of the kernel at `path`, or None when it is not an x86 kernel."""
    with path.open("rb") as file:
        found = parse(file.read(HEAD))
        if found is None or not found.payload:
            return found
        file.seek(found.payload)
        return BzImage(found.release, found.banner, compression(file.read(16)), found.payload, found.length)


def unpacked(path: Path) -> bytes | None:
    """Return the ELF file packed inside a kernel, or None if it cannot be extracted."""
    found = read(path)
    if found is None or found.compression is None or not 0 < found.length <= MAX_PACKED:
        return None
    with path.open("rb") as file:
        file.seek(found.payload)
        payload = file.read(found.length)
    try:
        kernel = unpack(io.BytesIO(payload), MAX_UNPACKED)
    except CorruptError:
        return None
    return kernel if kernel.startswith(b"\x7fELF") else None


def notes(kernel: bytes, owner: bytes) -> frozenset[int]:
    """Return the note types of an owner in the PT_NOTE segments of a 64-bit ELF file (elf(5))."""
    found = set()
    if len(kernel) < 64 or kernel[:6] != b"\x7fELF\x02\x01":
        return frozenset()
    (table,) = struct.unpack_from("<Q", kernel, 32)
    size, count = struct.unpack_from("<HH", kernel, 54)
    for number in range(count):
        header = kernel[table + number * size : table + number * size + 56]
        if len(header) < 56 or struct.unpack_from("<I", header)[0] != 4:
            continue
        (start,), (length,) = struct.unpack_from("<Q", header, 8), struct.unpack_from("<Q", header, 32)
        segment = kernel[start : start + min(length, 1 << 20)]
        place = 0
        while place + 12 <= len(segment):
            name, content, kind = struct.unpack_from("<III", segment, place)
            if segment[place + 12 : place + 12 + name].rstrip(b"\0") == owner:
                found.add(kind)
            place += 12 + -(-name // 4) * 4 + -(-content // 4) * 4
    return frozenset(found)


def starts_under_xen(path: Path) -> bool | None:
    """Return whether Xen can start the unpacked kernel as PV; None if it cannot be extracted."""
    kernel = unpacked(path)
    return None if kernel is None else _XEN_ENTRY in notes(kernel, b"Xen")


def for_qemu(path: Path) -> bytes | None:
    """Return the unpacked kernel if QEMU can start it by its PVH entry; else None.

    Under TCG a guest takes 4.5 s of its boot to unpack an xz kernel; unpacking it here takes 0.7 s, once.
    """
    kernel = unpacked(path)
    return kernel if kernel is not None and _PVH_ENTRY in notes(kernel, b"Xen") else None
