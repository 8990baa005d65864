"""Files that are not raw or qcow2 disk images, or do not start on a BIOS, detected by their first bytes.

No tool opens such a file: several of these formats name other files of the host (a vmdk its extents, a vhdx its
parent), and qemu-img follows them. Users who trust the file can convert it.
"""

from __future__ import annotations

import shlex
import struct
from pathlib import Path
from uuid import UUID

from roost.errors import ImageError
from roost.host import magic
from roost.recipe.words import shown

SECTOR = 512
#: Bytes at the start of a disk that hold its boot code and partition table: GPT has 128 entries, from sector 2.
TABLE = 34 * SECTOR
_SIGNATURE = b"\x55\xaa"
#: Kind → name, and qemu-img's name of the format (qemu-img(1), "Supported image file formats").
_FORMATS = {
    "vmdk": ("vmdk", "vmdk"),
    "vhd": ("vhd", "vpc"),
    "vhdx": ("vhdx", "vhdx"),
    "vdi": ("vdi", "vdi"),
    "qed": ("qed", "qed"),
    "parallels": ("Parallels", "parallels"),
    "qcow": ("qcow (version 1)", "qcow"),
}
_PACKED = {
    "gzip": "gzip -d",
    "xz": "xz -d",
    "bzip2": "bzip2 -d",
    "zstd": "zstd -d",
    "lz4": "lz4 -d",
    "zip": "unzip",
    "7z": "7z x",
}
#: Kind → what it is, and what to do.
_OTHERS = {
    "tar": (
        "a tar archive",
        "name a root tree as os.tarball; of an .ova, unpack it and convert the .vmdk in it",
    ),
    "squashfs": ("a squashfs image", "unpack it (unsquashfs) and name the directory as os.tree"),
    "luks": ("encrypted (LUKS)", "an execution point has no key for it: decrypt it, or use another image"),
    "html": ("a web page", "fetch the image itself"),
    "ar": ("a Debian package or an ar archive", "use a disk image"),
}
_ESP = UUID("c12a7328-f81f-11d2-ba4b-00a0c93ec93b")
_BIOS_BOOT = UUID("21686148-6449-6e6f-744e-656564454649")
_MBR_ESP, _MBR_GPT = 0xEF, 0xEE


def refused(image: Path, head: bytes, tail: bytes) -> ImageError | None:
    """Return why a file is not a raw disk, None if it may be one.

    `head` are its first 64 KiB, `tail` is its last sector.
    """
    if not head:
        return ImageError(f"{shown(image.name)} is empty", hint="fetch or copy it again")
    found = _iso(image, head) or _format(image, head, tail)
    if found is not None:
        return found
    # A disk that starts on a BIOS has its own boot code here, and may begin with any bytes.
    return None if head[510:512] == _SIGNATURE else _packed(image, head) or _other(image, head)


def _iso(image: Path, head: bytes) -> ImageError | None:
    if not magic.begins(head, "iso"):
        return None
    return ImageError(
        f"{shown(image.name)} is an ISO image, not a disk with an installed system",
        hint="install from it into a disk, or use the distribution's cloud image",
    )


def _format(image: Path, head: bytes, tail: bytes) -> ImageError | None:
    kind = magic.kind(head, _FORMATS)
    if kind is None and not magic.begins(tail, "vhd"):
        return None
    name, format = ("vhd (fixed size)", "vpc") if kind is None else _FORMATS[kind]
    new = shlex.quote(image.with_suffix(".qcow2").name)
    hint = f"convert it: qemu-img convert -f {format} -O qcow2 {shlex.quote(image.name)} {new}"
    return ImageError(f"{shown(image.name)} is a {name} image; only raw and qcow2 are supported", hint=shown(hint, 300))


def _packed(image: Path, head: bytes) -> ImageError | None:
    kind = magic.kind(head, _PACKED)
    if kind is None:
        return None
    hint = f"decompress it first: {_PACKED[kind]} {shlex.quote(image.name)}"
    return ImageError(f"{shown(image.name)} is compressed with {kind}", hint=shown(hint, 300))


def _other(image: Path, head: bytes) -> ImageError | None:
    kind = magic.kind(head, _OTHERS)
    if kind is None:
        return None
    what, hint = _OTHERS[kind]
    return ImageError(f"{shown(image.name)} is {what}, not a disk image", hint=hint)


def has_boot_sector(head: bytes) -> bool:
    """Return whether a BIOS would start a disk: its first sector has a signature, whatever its code does."""
    return head[510:512] == _SIGNATURE


def uefi_only(head: bytes) -> bool:
    """Return whether a disk starts on UEFI only; `head` are its first `TABLE` bytes as the guest sees them.

    It has an EFI system partition, no boot code in its first sector and, with GPT, no BIOS boot partition.
    """
    if len(head) < SECTOR or head[510:512] != _SIGNATURE or any(head[:440]):
        return False
    kinds = {head[446 + 16 * number + 4] for number in range(4)}
    if _MBR_GPT not in kinds:
        return _MBR_ESP in kinds
    if len(head) < 2 * SECTOR or head[SECTOR : SECTOR + 8] != b"EFI PART":
        return False
    start, count, width = struct.unpack_from("<QII", head, SECTOR + 72)
    if not 128 <= width <= 4096 or start > TABLE // SECTOR:
        return False
    places = (start * SECTOR + number * width for number in range(min(count, 128)))
    types = {UUID(bytes_le=head[at : at + 16]) for at in places if at + 16 <= len(head)}
    return _ESP in types and _BIOS_BOOT not in types
