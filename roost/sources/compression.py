"""What a file is packed with, told from its first bytes: opened as a stream, or refused with the way out."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from roost.errors import ImageError
from roost.host import process, qcow2

_MAGIC: Mapping[bytes, str] = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bzip2",
    b"\xfd7zXZ\0": "xz",
    b"\x5d\0\0": "lzma",
    b"\x28\xb5\x2f\xfd": "zstd",
}
#: What else comes by mistake: first bytes, what it is, the way out.
_FOREIGN: tuple[tuple[bytes, str, str], ...] = (
    (b"!<arch>\n", "a Debian package or an ar archive", "unpack it (dpkg-deb -x) into the tree and pack that"),
    (b"PK\x03\x04", "a zip archive", "unpack it and pack the tree with tar: zip keeps no owners"),
    (b"PK\x05\x06", "an empty zip archive", "pack the tree with tar"),
    (b"\xed\xab\xee\xdb", "an RPM package", "install it into a tree (dnf --installroot) and pack that"),
    (b"hsqs", "a squashfs image", "unpack it (unsquashfs) and pack the tree with tar"),
    (b"070701", "a cpio archive", "unpack it (cpio -idm) and pack the tree with tar"),
    (b"070702", "a cpio archive", "unpack it (cpio -idm) and pack the tree with tar"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive", "unpack it and pack the tree with tar"),
    (b"\x04\x22\x4d\x18", "an lz4 file", "unpack it first: lz4 -d"),
    (b"LZIP", "an lzip file", "unpack it first: lzip -d"),
    (b"\x1f\x9d", "a file of compress(1)", "unpack it first: gzip -d"),
    (qcow2.MAGIC, "a qcow2 disk image", "name it as os.image"),
    (b"KDMV", "a vmdk disk image", "name it as os.image"),
    (b"<!DOCTYPE", "a web page", "fetch the archive itself"),
    (b"<html", "a web page", "fetch the archive itself"),
    (b"\x7fELF", "a program", "put it into a tree, or into `files` of the recipe"),
)


def kind_of(head: bytes) -> str | None:
    """Return how a file that begins with `head` is packed (gzip, bzip2, xz, lzma, zstd), or None."""
    if head[257:262] == b"ustar":
        # A tar begins with the name of its first file, which may be any.
        return None
    return next((kind for magic, kind in _MAGIC.items() if head.startswith(magic)), None)


def foreign(name: str, head: bytes) -> ImageError | None:
    """Return why a file that begins with `head` (some 64 KiB) is not a tar archive, where its kind is known."""
    for magic, what, hint in _FOREIGN:
        if head.startswith(magic):
            return ImageError(f"{name} is {what}, not a tar archive", hint=hint)
    if head[32769:32774] == b"CD001":
        return ImageError(f"{name} is an ISO image, not a tar archive", hint="install from it, and use the disk")
    if head[510:512] == b"\x55\xaa" and head[257:262] != b"ustar":
        return ImageError(f"{name} looks like a disk image, not a tar archive", hint="name it as os.image")
    return None


@contextmanager
def opened(path: Path, kind: str, log: Path) -> Iterator[IO[bytes]]:
    """Yield the unpacked content of a file as a stream. Raises `ImageError` when it is damaged or incomplete."""
    try:
        if kind == "zstd":
            # Up to the largest window that zstd --long makes, of 2 GiB.
            argv: list[str | Path] = ["zstd", "-dcq", "--long=31", "--", path]
            with process.spawn(argv, log=log, stdout=subprocess.PIPE) as tool:
                assert tool.stdout is not None
                yield tool.stdout
                # The caller read to the end, so it ends by itself.
                if tool.wait(60) != 0:
                    raise ImageError(f"{path.name} is not a complete zstd file", log=log)
            return
        with _opened(path, kind) as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        raise ImageError(f"{path.name} is not a complete {kind} file: {error}") from error


def _opened(path: Path, kind: str) -> IO[bytes]:
    if kind == "gzip":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return cast(IO[bytes], bz2.open(path, "rb") if kind == "bzip2" else lzma.open(path, "rb"))
