"""Limits on one source of a root tree: a few untrusted KiB must not fill the disk or take hours.

Applied while the headers of an archive are read, before the content of a file is written anywhere.
"""

from __future__ import annotations

import os
import re
import tarfile
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import IO, cast

from roost.errors import ImageError, UsageError
from roost.host import archive_words
from roost.recipe.quantities import format_size, parse_size
from roost.recipe.words import shown
from roost.sources.attributes import carried as attributes_of

#: The environment variable that raises the limit, as a size.
VARIABLE = "ROOST_MAX_SOURCE"
#: Bytes that any source may hold, and that none may exceed without `VARIABLE`.
LEAST, MOST = 4 << 30, 64 << 30
#: Bytes that a source may hold per byte of its own. Real trees compress 20-fold at best, zeros with gzip 1000-fold.
RATIO = 250
#: The environment variable that allows more names than `MOST_NAMES`; a Debian desktop has some three hundred thousand.
NAMES = "ROOST_MAX_NAMES"
MOST_NAMES = 1_000_000
#: Bytes: the headers of one member (long names, pax records, maps of sparse files), and what is kept of all headers.
MOST_HEADER, MOST_KEPT = 4 << 20, 1 << 30
#: Bytes of the extended attributes of one file; Linux allows no longer list (xattr(7), XATTR_LIST_MAX, XATTR_SIZE_MAX).
MOST_XATTRS = 128 << 10
#: Records of a global pax header: tarfile copies them for every member.
MOST_GLOBAL = 64
#: Bytes of zeros after the end of an archive: tar pads its last record, of at most some MiB.
MOST_PADDING = 64 << 20
#: Seconds to read one archive.
DEADLINE = 3600.0

_CHUNK = 1 << 20


def limit(stored: int) -> int:
    """Return the bytes that a source of `stored` bytes may hold. Raises `UsageError` for a bad `ROOST_MAX_SOURCE`."""
    given = os.environ.get(VARIABLE)
    if not given:
        return min(MOST, max(LEAST, RATIO * stored))
    try:
        chosen = parse_size(given)
    except ValueError as error:
        raise UsageError(f"{VARIABLE}: {error}") from error
    if chosen <= 0:
        raise UsageError(f"{VARIABLE}: a limit of {chosen} bytes allows nothing")
    return chosen


def most_names() -> int:
    """Return how many names a source may have. Raises `UsageError` for a bad `ROOST_MAX_NAMES`."""
    given = os.environ.get(NAMES)
    if not given:
        return MOST_NAMES
    if not re.fullmatch(r"[1-9]\d{0,9}", given):
        raise UsageError(f"{NAMES} is not a number of names")
    return int(given)


class HeaderFile:
    """The file of an archive while the headers of one member are read: returns at most `MOST_HEADER` bytes."""

    def __init__(self, file: IO[bytes]) -> None:
        self.file = file
        self._left = MOST_HEADER

    def read(self, size: int) -> bytes:
        """Return at most `size` bytes."""
        if not 0 <= size <= self._left:
            raise ImageError(
                f"an archive with a header of more than {format_size(MOST_HEADER)} is not unpacked",
                hint="pack the tree again with tar",
            )
        self._left -= size
        return self.file.read(size)

    def tell(self) -> int:
        """Return the position in the file."""
        return self.file.tell()


class BadTarError(archive_words.PlainError, tarfile.ReadError):
    """An archive that tarfile would accept; the message is for the user."""


class Header(tarfile.TarInfo):
    """A header whose size is not negative (older tarfile modules read such an archive forever: CVE-2025-8194).

    The headers of one member are read through a `HeaderFile`: tarfile itself reads as much as a header claims.
    """

    def _block(self, count: int) -> int:
        if count < 0:
            raise BadTarError("a header with a negative size")
        return -(-count // tarfile.BLOCKSIZE) * tarfile.BLOCKSIZE

    def _proc_member(self, archive: tarfile.TarFile) -> tarfile.TarInfo:
        outer = archive.fileobj
        proceed = super()._proc_member  # type: ignore[misc]
        if isinstance(outer, HeaderFile):
            return proceed(archive)  # type: ignore[no-any-return]
        archive.fileobj = HeaderFile(cast(IO[bytes], outer))  # type: ignore[assignment]
        try:
            return proceed(archive)  # type: ignore[no-any-return]
        finally:
            archive.fileobj = outer


@dataclass(slots=True)
class Bounds:
    """What was read of one source so far, over all of its layers. `limit` is in bytes."""

    name: str
    stored: int
    limit: int = field(init=False)
    most_names: int = field(init=False)
    ends: float = field(init=False)
    total: int = 0
    names: int = 0
    kept: int = 0

    def __post_init__(self) -> None:
        self.limit = limit(self.stored)
        self.most_names = most_names()
        self.ends = time.monotonic() + DEADLINE

    def too_large(self, what: str) -> ImageError:
        """Return the error for a source that exceeds a limit; `what` names the limit."""
        return ImageError(
            f"{self.name}: {what}; the limit for a source of {format_size(self.stored)} is {format_size(self.limit)}",
            hint=f"leave out what no machine needs, or allow more with {VARIABLE}=SIZE in the environment",
        )

    def in_time(self) -> None:
        """Raise when the deadline has passed."""
        if time.monotonic() > self.ends:
            raise ImageError(f"{self.name} was not read within {DEADLINE:g} s")

    def add(self, size: int, what: str) -> None:
        """Count bytes that are written."""
        self.total += size
        if self.total > self.limit:
            raise self.too_large(what)

    def member(self, member: tarfile.TarInfo) -> None:
        """Count a member; raise `ImageError` if it is invalid or exceeds a limit."""
        self.names += 1
        if self.names % 1024 == 0:
            self.in_time()
        if self.names > self.most_names:
            raise ImageError(
                f"{self.name} has more than {self.most_names} members",
                hint=f"pack what is many small files into one, or allow more with {NAMES}=NUMBER in the environment",
            )
        sparse = getattr(member, "sparse", None)
        if sparse is not None:
            _sensible(member, sparse)
        if member.isreg():
            self.total += member.size
            if self.total > self.limit:
                what = "sparse file" if sparse is not None else "file"
                so_far = "" if member.size > self.limit else f", {format_size(self.total)} with what is before it"
                name = shown(member.name, 200)
                raise self.too_large(f"the {what} {name} has {format_size(member.size)}{so_far}")
        attributes = sum(map(len, attributes_of(member.pax_headers).values())) if member.pax_headers else 0
        if attributes > MOST_XATTRS:
            raise ImageError(
                f"{self.name}: {shown(member.name, 200)} has {attributes} bytes of extended attributes:"
                " Linux has no such file"
            )
        self.kept += len(member.name) + len(member.linkname) + attributes + 64 * len(sparse or ())
        if self.kept > MOST_KEPT:
            raise ImageError(
                f"{self.name}: names and attributes take more than {format_size(MOST_KEPT)},"
                f" up to {shown(member.name, 200)}"
            )

    def header(self, records: Mapping[str, str]) -> None:
        """Raise for a global header with more records than any tool writes."""
        if len(records) > MOST_GLOBAL:
            raise ImageError(f"{self.name} has a global header with {len(records)} records", hint="pack the tree again")

    def padding(self, file: IO[bytes]) -> None:
        """Read what follows the end of an archive: a limited number of zeros. Raises `ImageError` for anything else."""
        left = MOST_PADDING
        while data := file.read(_CHUNK):
            left -= len(data)
            if data.strip(b"\0"):
                raise ImageError(
                    f"{self.name}: data follows the end of the archive",
                    hint="two archives in one file? Unpack both (tar --ignore-zeros) and pack the tree as one",
                )
            if left < 0:
                raise ImageError(f"{self.name}: more than {format_size(MOST_PADDING)} of zeros follow the archive")


def _sensible(member: tarfile.TarInfo, sparse: list[tuple[int, int]]) -> None:
    """Raise unless the map of a sparse file is ordered and within the file: tarfile reads others forever."""
    at = 0
    for offset, size in sparse:
        if size == 0:
            continue
        if size < 0 or offset < at or offset + size > member.size:
            raise BadTarError(f"the map of the sparse file {shown(member.name, 200)} is not valid")
        at = offset + size
    setattr(member, "sparse", [(offset, size) for offset, size in sparse if size])  # noqa: B010 - not in its type
