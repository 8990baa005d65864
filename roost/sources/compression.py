"""The compression of a file, detected by its first bytes: opened as a stream, or refused with a hint."""

from __future__ import annotations

import bz2
import gzip
import lzma
import subprocess
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, cast

from roost.errors import ImageError
from roost.host import archive_words, magic, process

KINDS = ("gzip", "bzip2", "xz", "lzma", "zstd")
#: Common mistakes: what the file is, and what to do instead.
_FOREIGN = {
    "ar": ("a Debian package or an ar archive", "unpack it (dpkg-deb -x) into the tree and pack that"),
    "zip": ("a zip archive", "unpack it and pack the tree with tar: zip keeps no owners"),
    "empty-zip": ("an empty zip archive", "pack the tree with tar"),
    "rpm": ("an RPM package", "install it into a tree (dnf --installroot) and pack that"),
    "squashfs": ("a squashfs image", "unpack it (unsquashfs) and pack the tree with tar"),
    "cpio": ("a cpio archive", "unpack it (cpio -idm) and pack the tree with tar"),
    "7z": ("a 7z archive", "unpack it and pack the tree with tar"),
    "lz4": ("an lz4 file", "decompress it first: lz4 -d"),
    "lzip": ("an lzip file", "decompress it first: lzip -d"),
    "compress": ("a file of compress(1)", "decompress it first: gzip -d"),
    "qcow2": ("a qcow2 disk image", "name it as os.image"),
    "vmdk": ("a vmdk disk image", "name it as os.image"),
    "html": ("a web page", "fetch the archive itself"),
    "elf": ("a program", "put it into a tree, or into `files` of the recipe"),
    "iso": ("an ISO image", "install from it, and use the disk"),
}


def kind_of(head: bytes) -> str | None:
    """Return the compression of a file that begins with `head` (gzip, bzip2, xz, lzma, zstd), or None."""
    # A tar begins with the name of its first file, which may look like anything.
    return None if magic.begins(head, "tar") else magic.kind(head, KINDS)


def foreign(name: str, head: bytes) -> ImageError | None:
    """Return why a file that begins with `head` (some 64 KiB) is not a tar archive, if its type is known."""
    kind = magic.kind(head, _FOREIGN)
    if kind is not None:
        what, hint = _FOREIGN[kind]
        return ImageError(f"{name} is {what}, not a tar archive", hint=hint)
    if magic.begins(head, "boot-sector") and not magic.begins(head, "tar"):
        return ImageError(f"{name} looks like a disk image, not a tar archive", hint="name it as os.image")
    return None


@contextmanager
def opened(path: Path, kind: str, log: Path) -> Iterator[IO[bytes]]:
    """Yield the decompressed content of a file as a stream. Raises `ImageError` when it is damaged or incomplete."""
    try:
        if kind == "zstd":
            # Allow the largest window of zstd --long, 2 GiB.
            argv: list[str | Path] = ["zstd", "-dcq", "--long=31", "--", path]
            with process.spawn(argv, log=log, stdout=subprocess.PIPE) as tool:
                assert tool.stdout is not None
                yield tool.stdout
                # The caller read to the end, so it exits by itself.
                if tool.wait(60) != 0:
                    raise ImageError(f"{path.name} is not a complete zstd file", hint=archive_words.AGAIN, log=log)
            return
        with _opened(path, kind) as file:
            yield file
    except (OSError, EOFError, lzma.LZMAError, zlib.error) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        what = f"{path.name} is not a complete {kind} file: {archive_words.told(error)}"
        raise ImageError(what, hint=archive_words.AGAIN) from error


def _opened(path: Path, kind: str) -> IO[bytes]:
    if kind == "gzip":
        return cast(IO[bytes], gzip.open(path, "rb"))
    return cast(IO[bytes], bz2.open(path, "rb") if kind == "bzip2" else lzma.open(path, "rb"))
