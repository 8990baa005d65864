"""Read an initrd as Linux unpacks it: concatenated newc archives, each plain or compressed.

(Linux, Documentation/driver-api/early-userspace/buffer-format.rst.) An initrd may be untrusted: names and sizes
are bounded, content is read only as far as requested, and nothing is written.
"""

from __future__ import annotations

import stat
from collections.abc import Iterator
from dataclasses import dataclass
from typing import BinaryIO

from roost.errors import ImageError
from roost.host.decompress import CorruptError, LookaheadReader, Unpacked

_HEADER = 110
_MAGIC = (b"070701", b"070702")
_TRAILER = "TRAILER!!!"
#: Limits above those of any bootable initrd: bytes of a name (PATH_MAX), entries, unpacked bytes.
MAX_NAME = 4096
MAX_ENTRIES = 400_000
MAX_UNPACKED = 2 << 30


class BadInitrdError(ImageError):
    """The file is not an initrd that Linux would unpack."""


@dataclass(slots=True)
class Member:
    """A file, directory or link; `read` returns its content, until the next entry is requested."""

    name: str
    mode: int
    size: int
    _stream: _Stream

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file."""
        return stat.S_ISREG(self.mode)

    def read(self, limit: int) -> bytes:
        """Return the first bytes of the content, at most `limit`."""
        return self._stream.content(limit)


class _Stream:
    """The unpacked bytes: the raw file for a plain archive, else the output of decompressing a part."""

    def __init__(self, file: BinaryIO) -> None:
        self.raw = LookaheadReader(file)
        self.current = self.raw
        self.left = 0
        self.total = 0

    def count(self, size: int) -> None:
        self.total += size
        if self.total > MAX_UNPACKED:
            raise BadInitrdError(f"the initrd unpacks to more than {MAX_UNPACKED >> 30} GiB")

    def read(self, size: int) -> bytes:
        self.count(size)
        return self.current.read(size)

    def exactly(self, size: int) -> bytes:
        data = self.read(size)
        if len(data) < size:
            raise BadInitrdError("the initrd ends in the middle of an entry")
        return data

    def content(self, limit: int) -> bytes:
        size = min(limit, self.left)
        data = self.exactly(size)
        self.left -= size
        return data

    def skip(self, size: int) -> None:
        self.count(size)
        if self.current.skip(size) < size:
            raise BadInitrdError("the initrd ends in the middle of an entry")

    def next_archive(self) -> bool:
        """Advance to the next archive, in this part or after it; return False at the end."""
        self.current.skip_zeros()
        if self.current is not self.raw and not self.current.peek(1):
            self.current = self.raw
            self.raw.skip_zeros()
        head = self.current.peek(6)
        if not head:
            return False
        if head in _MAGIC:
            return True
        if self.current is not self.raw:
            raise BadInitrdError("the initrd unpacks to something that is not a newc cpio archive")
        self.current = LookaheadReader(_Part(self.raw))
        return self.next_archive()


class _Part:
    """A compressed part of an initrd; errors in it are reported as errors of the initrd."""

    def __init__(self, raw: LookaheadReader) -> None:
        try:
            self._unpacked = Unpacked(raw)
        except CorruptError as error:
            raise BadInitrdError(f"the initrd cannot be unpacked: {error}") from error

    def read(self, size: int, /) -> bytes:
        try:
            return self._unpacked.read(size)
        except CorruptError as error:
            raise BadInitrdError(f"the initrd cannot be unpacked: {error}") from error


def entries(file: BinaryIO) -> Iterator[Member]:
    """Yield the entries of an initrd in order, from all its archives. Raises `BadInitrdError`."""
    stream = _Stream(file)
    count = 0
    while stream.next_archive():
        for entry in _archive(stream):
            count += 1
            if count > MAX_ENTRIES:
                raise BadInitrdError(f"the initrd holds more than {MAX_ENTRIES} entries")
            yield entry
    if not count:
        raise BadInitrdError("the initrd is empty")


def _archive(stream: _Stream) -> Iterator[Member]:
    """Yield the entries of one archive, up to its trailer, or to the end of the part, as Linux does."""
    while stream.current.peek(1):
        header = stream.exactly(_HEADER)
        if header[:6] not in _MAGIC:
            if not header.strip(b"\0"):
                # Linux also accepts zeros as the end.
                return
            raise BadInitrdError("an entry of the initrd has no newc header")
        try:
            fields = [int(header[6 + 8 * number : 14 + 8 * number].decode("ascii"), 16) for number in range(13)]
        except ValueError as error:
            raise BadInitrdError("an entry of the initrd has a header that is not hexadecimal") from error
        mode, size, length = fields[1], fields[6], fields[11]
        if not 0 < length <= MAX_NAME:
            raise BadInitrdError(f"an entry of the initrd has a name of {length} bytes")
        name = stream.exactly(length + -(_HEADER + length) % 4)[:length].split(b"\0")[0].decode("utf-8", "replace")
        if name == _TRAILER:
            return
        stream.left = size
        yield Member(name.removeprefix("./").lstrip("/"), mode, size, stream)
        stream.skip(stream.left)
        padding = -size % 4
        if padding and len(stream.read(padding)) < padding:
            return
