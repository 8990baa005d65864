"""File types by their first bytes: images, archives, compressions. Never by name.

Sources: file(1); the probe functions of QEMU's block drivers; for kernels and initrds, Linux' lib/decompress.c.
"""

from __future__ import annotations

from collections.abc import Iterable

from roost.host import qcow2

#: Type → offset and bytes of each of its forms.
SIGNATURES: dict[str, tuple[tuple[int, bytes], ...]] = {
    # Compressions.
    "gzip": ((0, b"\x1f\x8b"),),
    "xz": ((0, b"\xfd7zXZ\0"),),
    "bzip2": ((0, b"BZh"),),
    "lzma": ((0, b"\x5d\0\0"),),
    "zstd": ((0, b"\x28\xb5\x2f\xfd"),),
    "lz4": ((0, b"\x04\x22\x4d\x18"),),
    "lz4-legacy": ((0, b"\x02\x21\x4c\x18"),),
    "lzo": ((0, b"\x89LZO\0\r\n\x1a\n"),),
    "lzip": ((0, b"LZIP"),),
    "compress": ((0, b"\x1f\x9d"),),
    # Archives and packages.
    "zip": ((0, b"PK\x03\x04"),),
    "empty-zip": ((0, b"PK\x05\x06"),),
    "7z": ((0, b"7z\xbc\xaf\x27\x1c"),),
    "tar": ((257, b"ustar"),),
    "cpio": ((0, b"070701"), (0, b"070702")),
    "ar": ((0, b"!<arch>\n"),),
    "rpm": ((0, b"\xed\xab\xee\xdb"),),
    # Disk images.
    "qcow": ((0, qcow2.MAGIC + b"\0\0\0\x01"),),
    "qcow2": ((0, qcow2.MAGIC),),
    "vmdk": ((0, b"KDMV"), (0, b"COWD"), (0, b"# Disk DescriptorFile")),
    "vhd": ((0, b"conectix"),),
    "vhdx": ((0, b"vhdxfile"),),
    "vdi": ((64, b"\x7f\x10\xda\xbe"),),
    "qed": ((0, b"QED\0"),),
    "parallels": ((0, b"WithoutFreeSpace"), (0, b"WithouFreSpacExt")),
    "iso": ((32769, b"CD001"),),
    "squashfs": ((0, b"hsqs"),),
    "luks": ((0, b"LUKS\xba\xbe"),),
    "boot-sector": ((510, b"\x55\xaa"),),
    # Common mistakes.
    "html": ((0, b"<!DOCTYPE"), (0, b"<html")),
    "elf": ((0, b"\x7fELF"),),
}


def begins(head: bytes, kind: str) -> bool:
    """Return whether a file that begins with `head` is of a type. An ISO image needs the first 33 KiB."""
    return any(head.startswith(form, offset) for offset, form in SIGNATURES[kind])


def kind(head: bytes, kinds: Iterable[str]) -> str | None:
    """Return the first of `kinds` that matches a file beginning with `head`, or None."""
    return next((one for one in kinds if begins(head, one)), None)
