"""Untrusted compressed data, read in pieces: kernels, initrds, modules.

The compression is detected by magic, never by name. The output of each step is bounded, so that a few kilobytes that
unpack to terabytes cost no memory; the caller decides how much it reads in total.
"""

from __future__ import annotations

import bz2
import lzma
import struct
import zlib
from collections.abc import Callable, Mapping
from typing import BinaryIO, Literal, Protocol

import lz4.block
import zstandard

from roost.host import archive_words, magic

Compression = Literal["gzip", "xz", "lzma", "bzip2", "lz4", "zstd", "lzo"]

#: The kernel's own lz4 uses the legacy format.
_KINDS: Mapping[str, Compression] = {
    "gzip": "gzip", "xz": "xz", "bzip2": "bzip2", "lzma": "lzma", "zstd": "zstd", "lz4-legacy": "lz4", "lzo": "lzo",
}  # fmt: skip
#: Bytes that a decoder may use for its tables: xz -9 and zstd --ultra need 64 and 128 MiB.
_TABLES = 256 << 20
_PIECE = 1 << 20
#: zstd's decoder returns everything that its input holds, which may be 32,000 times as much.
_SIP = 512
#: The kernel's own lz4 makes blocks of at most 8 MiB, hardly larger when incompressible (lib/decompress_unlz4.c).
_LZ4_BLOCK = 8 << 20
_LZ4_MAGIC = 0x184C2102


class CorruptError(archive_words.PlainError, ValueError):
    """The data does not match its magic, or it is truncated."""


def compression(head: bytes) -> Compression | None:
    """Return the compression of data by its first bytes, or None."""
    found = magic.kind(head, _KINDS)
    return None if found is None else _KINDS[found]


class Readable(Protocol):
    """What `LookaheadReader` reads: a binary file, or any source of pieces that ends with an empty one."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, of any length; empty at the end."""


class LookaheadReader:
    """Reads a file once from front to back, with lookahead; bytes can be pushed back."""

    def __init__(self, file: Readable) -> None:
        self._file = file
        self._ahead = b""
        self._at = 0

    def _fill(self, size: int) -> None:
        """Buffer `size` bytes, fewer only at the end."""
        have = len(self._ahead) - self._at
        if have >= size:
            return
        parts = [self._ahead[self._at :]]
        while have < size and (more := self._file.read(max(size - have, _PIECE))):
            parts.append(more)
            have += len(more)
        self._ahead, self._at = b"".join(parts), 0

    def read(self, size: int) -> bytes:
        """Return `size` bytes, fewer only at the end."""
        data = self.peek(size)
        self._at += len(data)
        return data

    def peek(self, size: int) -> bytes:
        """Return what `read` would without consuming it."""
        self._fill(size)
        return self._ahead[self._at : self._at + size]

    def skip(self, size: int) -> int:
        """Skip `size` bytes, fewer only at the end; return how many."""
        done = 0
        while done < size:
            self._fill(1)
            step = min(size - done, len(self._ahead) - self._at)
            if not step:
                break
            self._at += step
            done += step
        return done

    def give_back(self, data: bytes) -> None:
        """Push bytes back in front of the next ones."""
        if data:
            if self._at >= len(data) and self._ahead[self._at - len(data) : self._at] == data:
                self._at -= len(data)
                return
            self._ahead, self._at = data + self._ahead[self._at :], 0

    def skip_zeros(self) -> None:
        """Skip zero bytes, which separate the parts of an initrd."""
        while data := self.read(4096):
            rest = data.lstrip(b"\0")
            if rest:
                self.give_back(rest)
                return


class _Decoder(Protocol):
    """The common interface of zlib, bz2, lzma and zstandard decoders."""

    def step(self, source: LookaheadReader) -> bytes:
        """Return the next piece; empty at the end of the stream, with the source positioned right after it."""


class _Bounded:
    """bz2 and lzma: `decompress(data, max_length)`."""

    def __init__(self, engine: bz2.BZ2Decompressor | lzma.LZMADecompressor) -> None:
        self._engine = engine

    def step(self, source: LookaheadReader) -> bytes:
        while not self._engine.eof:
            data = source.read(65536) if self._engine.needs_input else b""
            if not data and self._engine.needs_input:
                raise CorruptError(archive_words.CUT)
            out = self._engine.decompress(data, _PIECE)
            if self._engine.eof:
                source.give_back(self._engine.unused_data)
            if out:
                return out
        return b""


class _Gzip:
    def __init__(self) -> None:
        self._engine = zlib.decompressobj(31)

    def step(self, source: LookaheadReader) -> bytes:
        while not self._engine.eof:
            data = self._engine.unconsumed_tail or source.read(65536)
            # Without further input there may still be output that did not fit into the previous piece.
            out = self._engine.decompress(data, _PIECE)
            if not data and not out and not self._engine.eof:
                raise CorruptError(archive_words.CUT)
            if self._engine.eof:
                source.give_back(self._engine.unused_data)
            if out:
                return out
        return b""


class _Zstd:
    def __init__(self) -> None:
        self._engine = zstandard.ZstdDecompressor(max_window_size=128 << 20).decompressobj()

    def step(self, source: LookaheadReader) -> bytes:
        while not self._engine.eof:
            data = source.read(_SIP)
            if not data:
                raise CorruptError(archive_words.CUT)
            out = self._engine.decompress(data)
            if self._engine.eof:
                source.give_back(self._engine.unused_data)
            if out:
                return out
        return b""


class _Lz4:
    """The legacy lz4 format, the only one that Linux unpacks: blocks until something that is not a block."""

    def __init__(self) -> None:
        self._begun = False

    def step(self, source: LookaheadReader) -> bytes:
        if not self._begun:
            source.read(4)
            self._begun = True
        while True:
            head = source.peek(4)
            if len(head) < 4:
                return b""
            (size,) = struct.unpack("<I", head)
            if size == _LZ4_MAGIC:
                source.read(4)
                continue
            if not 0 < size <= _LZ4_BLOCK + _LZ4_BLOCK // 255 + 16:
                return b""
            source.read(4)
            block = source.read(size)
            if len(block) < size:
                # The unpacked size, appended by the kernel's build, looks like the size of another block.
                source.give_back(head + block)
                return b""
            return bytes(lz4.block.decompress(block, uncompressed_size=_LZ4_BLOCK))


_DECODERS: dict[Compression, Callable[[], _Decoder]] = {
    "gzip": _Gzip,
    "xz": lambda: _Bounded(lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_TABLES)),
    "lzma": lambda: _Bounded(lzma.LZMADecompressor(lzma.FORMAT_ALONE, memlimit=_TABLES)),
    "bzip2": lambda: _Bounded(bz2.BZ2Decompressor()),
    "zstd": _Zstd,
    "lz4": _Lz4,
}


class Unpacked:
    """The unpacked data of a source: one stream, or with `all` consecutive streams of one compression."""

    def __init__(self, source: LookaheadReader, *, all: bool = True) -> None:
        kind = compression(source.peek(16))
        if kind not in _DECODERS:
            raise CorruptError(f"{kind or 'an unknown compression'} cannot be unpacked")
        self._source = source
        self._all = all
        self._kind = kind
        self._decoder: _Decoder | None = _DECODERS[kind]()

    def read(self, _size: int = 0, /) -> bytes:
        """Return the next piece, its size determined by the data; empty at the end. Raises `CorruptError`."""
        while self._decoder is not None:
            try:
                if data := self._decoder.step(self._source):
                    return data
            except (
                zlib.error,
                lzma.LZMAError,
                OSError,
                EOFError,
                zstandard.ZstdError,
                lz4.block.LZ4BlockError,
            ) as error:
                raise CorruptError(f"not a complete {self._kind} file: {archive_words.told(error)}") from error
            more = self._all and compression(self._source.peek(16)) == self._kind
            self._decoder = _DECODERS[self._kind]() if more else None
        return b""


def unpack(file: BinaryIO, limit: int) -> bytes:
    """Return the unpacked content of the single stream at the beginning of a file, ignoring what follows it.

    The size at the end of a kernel may look like the beginning of a gzip stream. Raises `CorruptError`, also when the
    content is larger than `limit` bytes.
    """
    stream = Unpacked(LookaheadReader(file), all=False)
    parts = []
    while data := stream.read():
        limit -= len(data)
        if limit < 0:
            raise CorruptError("it unpacks to more than its limit")
        parts.append(data)
    return b"".join(parts)
