"""Downloads: a URL and its sha256 become a file in the cache, or an error.

The content for a checksum never changes, so a file is fetched once and never requested again. An interrupted download
resumes where it stopped, also in another process; what a server says about resuming is trusted only if the checksum
matches.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from http.client import HTTPResponse
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

from roost.errors import HostError, Location, Problem, RecipeError, RoostError
from roost.events import Events, Stages
from roost.host import checksum
from roost.store import http, keys
from roost.store.cache import Cache
from roost.store.http import BrokenError, shown

STAGE = "downloads"
SCHEMES = ("http", "https", "file")
#: Seconds: for a whole download, and between attempts; another attempt is made as long as data arrives.
DEADLINE = 6 * 3600.0
PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Seconds after which an interrupted download is given up.
FORGOTTEN = 14 * 86400
_CHUNK = 1 << 20
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


def fetch(url: str, sha256: str, cache: Cache, events: Events, *, where: Location | None = None) -> Path:
    """Return the file with this sha256, from the cache or else from `url` (http, https, file). It must not be modified.

    Concurrent calls for one file wait for each other. Raises `RecipeError` at `where` when the URL is wrong or its
    content has another checksum (nothing is kept); `HostError` when the network or the disk fails.
    """
    wrong = _mistake(url, sha256)
    if wrong:
        raise RecipeError([Problem(wrong, where)])

    def make(directory: Path) -> None:
        with Stages(events).stage("download", shown(url)):
            _Download(url, sha256, directory.parent / f".{sha256}.part", events, where).into(directory / "file")

    found = cache.put(STAGE, sha256, make) / "file"
    # The file may have been damaged since: it is read again when its size or times have changed.
    if not found.is_file() or keys.large_digest(found) != sha256:
        cache.drop(STAGE, sha256)
        events.note(f"{found} in the cache is damaged: it is downloaded again")
        found = cache.put(STAGE, sha256, make) / "file"
    return found


def _mistake(url: str, sha256: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is not a URL"
    if parts.scheme not in SCHEMES:
        return f"{shown(url)} cannot be fetched: only {', '.join(SCHEMES)} can"
    if not re.fullmatch(r"[!-~]+", url) or (parts.scheme != "file" and not parts.hostname) or port == 0:
        return f"{shown(url) if url.isprintable() else 'this'} is not a URL"
    if parts.scheme == "file" and (parts.netloc not in {"", "localhost"} or not parts.path.startswith("/")):
        return f"{shown(url)} is not a file of this machine: write file:///PATH"
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return "a sha256 is 64 lower-case hexadecimal digits"
    return None


@dataclass(slots=True)
class _Download:
    """One download: `part` holds the data so far, a file next to it the server's version identifier."""

    url: str
    sha256: str
    part: Path
    events: Events
    where: Location | None
    #: Whether `part` was assembled from several answers.
    pieced: bool = False

    @property
    def version(self) -> Path:
        return self.part.with_suffix(".version")

    def into(self, target: Path) -> None:
        """Store the whole file in `target`, or raise."""
        self._forget_others()
        if self.part.is_symlink() or not self.part.is_file():
            self._drop()
        try:
            seen = self._complete()
            if seen != self.sha256 and self.pieced:
                # The file may have changed between two answers without notice from the server.
                self._drop()
                self.pieced = False
                seen = self._complete()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # A partial file on a full disk takes space from others too.
            self._drop()
            raise self._full() from error
        if seen != self.sha256:
            self._drop()
            raise self._refused(
                f"{shown(self.url)} has sha256 {seen}, not {self.sha256}", "if the change is right, write the new sum"
            )
        with self.part.open("rb") as file:
            os.fsync(file.fileno())
        self.part.chmod(0o444)
        self.version.unlink(missing_ok=True)
        self.part.rename(target)

    def _complete(self) -> str:
        """Fetch the missing part, with retries as long as data arrives; return the checksum of the whole."""
        if urlsplit(self.url).scheme == "file":
            return self._copy()
        ends = time.monotonic() + DEADLINE
        failures = 0
        most = self._size()
        while True:
            try:
                self._request(ends)
                return checksum.sha256(self.part)
            except BrokenError as broken:
                failures = 1 if self._size() > most else failures + 1
                most = max(most, self._size())
                if failures > len(PAUSES) or time.monotonic() > ends:
                    raise HostError(
                        f"cannot fetch {shown(self.url)}: {broken}",
                        where=self.where,
                        hint="what was downloaded is kept: the next attempt resumes it" if self._size() else None,
                    ) from broken
                time.sleep(PAUSES[failures - 1])

    def _copy(self) -> str:
        path = Path(unquote(urlsplit(self.url).path))
        try:
            if "\0" in str(path) or not path.is_file():
                raise self._refused(f"no such file: '{shown(self.url)}'")
            source = path.open("rb")
        except OSError as error:
            raise self._refused(f"{path}: {error.strerror}") from error
        with source, self.part.open("wb", buffering=0) as file:
            size = os.fstat(source.fileno()).st_size
            self._need(size)
            try:
                self._pump(lambda: _chunk(source), file, 0, size, time.monotonic() + DEADLINE)
            except BrokenError as broken:
                raise HostError(f"cannot read {path}: {broken}", where=self.where) from broken
        return checksum.sha256(self.part)

    def _request(self, ends: float) -> None:
        """Make one request for the missing part. Raises `BrokenError` when a retry may help."""
        have = self._size()
        known = self.version.read_text("ascii", "replace") if self.version.is_file() else ""
        try:
            answer = http.get(self.url, have, known)
            if answer is None:
                # All data had arrived before the interruption; the checksum decides.
                self.pieced = True
                return
            with answer:
                self._take(answer, http.start(answer, have), ends)
        except http.ChangedError:
            self._drop()
            raise
        except http.UntrustedError as error:
            hint = "install ca-certificates, or set SSL_CERT_FILE"
            raise HostError(str(error), where=self.where, hint=hint) from error
        except http.RefusedError as error:
            raise self._refused(str(error), error.hint) from error

    def _take(self, answer: HTTPResponse, start: int, ends: float) -> None:
        """Write the body of an answer at its place in the file."""
        self.pieced = self.pieced or start > 0
        length = http.length(answer)
        total = start + length if length is not None else None
        if total is not None:
            self._need(total - start)
        if not start:
            self.version.write_text(http.version(answer), "ascii")
        with self.part.open("ab" if start else "wb", buffering=0) as file:
            got = self._pump(lambda: http.some(answer, _CHUNK), file, start, total, ends)
        if total is not None and got < total:
            raise BrokenError(f"the connection ended after {got} of {total} bytes")

    def _pump(self, read: Callable[[], bytes], file: BinaryIO, done: int, total: int | None, ends: float) -> int:
        """Write the data from `read` to `file`; return the resulting size of the file."""
        reported = 0.0
        while data := read():
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            done += len(data)
            now = time.monotonic()
            if now > ends:
                raise BrokenError(f"it takes more than {DEADLINE / 3600:g} hours")
            if total and now - reported > 0.1:
                self.events.progress("download", done, total)
                reported = now
        if total:
            self.events.progress("download", done, total)
        return done

    def _need(self, size: int) -> None:
        if shutil.disk_usage(self.part.parent).free < size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def _full(self) -> HostError:
        return HostError(
            f"no space left on the disk of {self.part.parent} for {shown(self.url)}",
            where=self.where,
            hint="free some space, or set ROOST_CACHE",
        )

    def _size(self) -> int:
        return self.part.stat().st_size if self.part.exists() else 0

    def _drop(self) -> None:
        self.part.unlink(missing_ok=True)
        self.version.unlink(missing_ok=True)

    def _refused(self, what: str, hint: str | None = None) -> RoostError:
        return RecipeError([Problem(what, self.where, hint)])

    def _forget_others(self) -> None:
        for old in self.part.parent.glob(".*.part"):
            with contextlib.suppress(OSError):
                if old != self.part and time.time() - old.lstat().st_mtime > FORGOTTEN:
                    old.unlink()
                    old.with_suffix(".version").unlink(missing_ok=True)


def _chunk(source: BinaryIO) -> bytes:
    """Return the next block of a local file; an error here is the source's, not that of the disk written to."""
    try:
        return source.read(_CHUNK)
    except OSError as error:
        raise BrokenError(error.strerror or str(error)) from error
