"""The one door to downloads: a URL and its sha256 become a file in the cache, or an error.

What the sum names never changes, so a file is fetched once and never asked for again. A download that broke off goes on
where it stopped, also in another process; what a server says about resuming is believed only as far as the sum agrees.
"""

from __future__ import annotations

import contextlib
import errno
import http.client
import os
import re
import shutil
import ssl
import time
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit, urlunsplit

import roost
from roost.errors import HostError, Location, Problem, RecipeError, RoostError
from roost.events import Events, Stages
from roost.host import checksum
from roost.store.cache import Cache

STAGE = "downloads"
SCHEMES = ("http", "https", "file")
#: Seconds: without a byte, for all of a download, and between attempts, one more of which is made while data comes.
STALLED = 60.0
DEADLINE = 6 * 3600.0
PAUSES = (1.0, 2.0, 4.0, 8.0)
#: Seconds after which what broke off is not waited for any more.
FORGOTTEN = 14 * 86400
_CHUNK = 1 << 20
#: What a server answers when it may do better soon.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})
_FULL = frozenset({errno.ENOSPC, errno.EDQUOT})


class _BrokenError(Exception):
    """The connection or the server failed in a way that may pass."""


def shown(url: str) -> str:
    """Return a URL as logs and errors show it: no user, no password, no query (which may hold a signature)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) + ("?…" if parts.query else "")


def fetch(url: str, sha256: str, cache: Cache, events: Events, *, where: Location | None = None) -> Path:
    """Return the file with this sha256, from the cache or else from `url` (http, https, file). Nobody may change it.

    Two that want one file wait for each other. Raises `RecipeError` at `where` when the URL is wrong or what it gives
    has another sum, of which nothing is kept; `HostError` when the network or the disk fails.
    """
    wrong = _mistake(url, sha256)
    if wrong:
        raise RecipeError([Problem(wrong, where)])

    def make(folder: Path) -> None:
        with Stages(events).stage("download", shown(url)):
            _Download(url, sha256, folder.parent / f".{sha256}.part", events, where).into(folder / "file")

    return cache.put(STAGE, sha256, make) / "file"


def _mistake(url: str, sha256: str) -> str | None:
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return "this is no URL"
    if parts.scheme not in SCHEMES:
        return f"{shown(url)} cannot be fetched: only {', '.join(SCHEMES)} can"
    if not re.fullmatch(r"[!-~]+", url) or (parts.scheme != "file" and not parts.hostname) or port == 0:
        return f"{shown(url) if url.isprintable() else 'this'} is no URL"
    if parts.scheme == "file" and (parts.netloc not in {"", "localhost"} or not parts.path.startswith("/")):
        return f"{shown(url)} is no file of this machine: write file:///PATH"
    if not re.fullmatch(r"[0-9a-f]{64}", sha256):
        return "a sha256 is 64 hexadecimal digits in small letters"
    return None


@dataclass(slots=True)
class _Download:
    """One download: `part` holds what has come so far, a file beside it what the server called that version."""

    url: str
    sha256: str
    part: Path
    events: Events
    where: Location | None
    #: Whether some of `part` came with another answer than the rest.
    pieced: bool = False

    @property
    def version(self) -> Path:
        return self.part.with_suffix(".version")

    def into(self, target: Path) -> None:
        """Leave the whole file in `target`, or raise."""
        self._forget_others()
        if self.part.is_symlink() or not self.part.is_file():
            self._drop()
        try:
            seen = self._complete()
            if seen != self.sha256 and self.pieced:
                # The file may have changed between two answers without the server saying so.
                self._drop()
                self.pieced = False
                seen = self._complete()
        except OSError as error:
            if error.errno not in _FULL:
                raise
            # What is left of a full disk belongs to others too.
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
        """Fetch what lacks, again and again while something comes; return the sum of the whole."""
        if urlsplit(self.url).scheme == "file":
            return self._copy()
        ends = time.monotonic() + DEADLINE
        failures = 0
        most = self._size()
        while True:
            try:
                self._request(ends)
                return checksum.sha256(self.part)
            except _BrokenError as broken:
                failures = 1 if self._size() > most else failures + 1
                most = max(most, self._size())
                if failures > len(PAUSES) or time.monotonic() > ends:
                    raise HostError(
                        f"cannot fetch {shown(self.url)}: {broken}",
                        where=self.where,
                        hint="what has come is kept: the next attempt goes on there" if self._size() else None,
                    ) from broken
                time.sleep(PAUSES[failures - 1])

    def _copy(self) -> str:
        path = Path(unquote(urlsplit(self.url).path))
        try:
            if "\0" in str(path) or not path.is_file():
                raise self._refused(f"there is no file {shown(self.url)}")
            source = path.open("rb")
        except OSError as error:
            raise self._refused(f"{path}: {error.strerror}") from error
        with source, self.part.open("wb", buffering=0) as file:
            size = os.fstat(source.fileno()).st_size
            self._need(size)
            try:
                self._pump(source.read, file, 0, size, time.monotonic() + DEADLINE)
            except _BrokenError as broken:
                raise HostError(f"cannot read {path}: {broken}", where=self.where) from broken
        return checksum.sha256(self.part)

    def _request(self, ends: float) -> None:
        """Ask once, for what lacks. Raises `_BrokenError` when it is worth another attempt."""
        have = self._size()
        request = self._asked(have)
        # Not urlopen's: that one also opens ftp: and file:, and could be made to by a redirect.
        opener = urllib.request.OpenerDirector()
        for handler in (
            urllib.request.ProxyHandler,
            urllib.request.UnknownHandler,
            urllib.request.HTTPHandler,
            urllib.request.HTTPSHandler,
            urllib.request.HTTPDefaultErrorHandler,
            urllib.request.HTTPRedirectHandler,
            urllib.request.HTTPErrorProcessor,
        ):
            opener.add_handler(handler())
        try:
            with opener.open(request, timeout=STALLED) as answer:
                self._take(answer, have, ends)
        except urllib.error.HTTPError as error:
            error.close()
            self._answered(error, have)
        except urllib.error.URLError as error:
            if isinstance(error.reason, ssl.SSLCertVerificationError):
                raise HostError(
                    f"{shown(self.url)}: {error.reason.verify_message}",
                    where=self.where,
                    hint="install ca-certificates, or set SSL_CERT_FILE",
                ) from error
            raise _BrokenError(_reason(error.reason)) from error
        except http.client.InvalidURL as error:
            # Its text may hold a password.
            raise self._refused(f"{shown(self.url)} leads to something that is no URL") from error
        except (ValueError, OverflowError) as error:
            # A redirect that urllib cannot split, name or number: http://[::1/x, http://h:99999/.
            raise self._refused(f"{shown(self.url)} leads to something that is no URL") from error
        except http.client.HTTPException as error:
            raise _BrokenError(f"the answer is no whole HTTP ({type(error).__name__})") from error
        except (TimeoutError, ConnectionError, ssl.SSLError) as error:
            raise _BrokenError(_reason(error)) from error

    def _asked(self, have: int) -> urllib.request.Request:
        parts = urlsplit(self.url)
        host = parts.netloc.rpartition("@")[2]
        request = urllib.request.Request(urlunsplit((parts.scheme, host, parts.path, parts.query, "")))
        request.add_header("User-Agent", f"roost/{roost.__version__}")
        if parts.username is not None:
            pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
            # Unredirected: the password is for this server only.
            request.add_unredirected_header("Authorization", f"Basic {b64encode(pair).decode()}")
        if have:
            request.add_header("Range", f"bytes={have}-")
            known = self.version.read_text("ascii", "replace") if self.version.is_file() else ""
            if known:
                request.add_header("If-Range", known)
        return request

    def _take(self, answer: http.client.HTTPResponse, have: int, ends: float) -> None:
        """Write the body of an answer where it belongs."""
        start = 0
        if answer.status == 206:
            given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
            start = int(given[1]) if given else -1
            if start != have:
                self._drop()
                raise _BrokenError("the server sent another part than it was asked for")
        self.pieced = self.pieced or start > 0
        length = answer.headers.get("Content-Length", "")
        total = start + int(length) if re.fullmatch(r"\d{1,18}", length) else None
        if total is not None:
            self._need(total - start)
        if not start:
            self.version.write_text(_version(answer), "ascii")
        with self.part.open("ab" if start else "wb", buffering=0) as file:
            got = self._pump(answer.read1, file, start, total, ends)
        if total is not None and got < total:
            raise _BrokenError(f"the connection ended after {got} of {total} bytes")

    def _answered(self, error: urllib.error.HTTPError, have: int) -> None:
        """Deal with an answer that is no file."""
        if error.code == 416 and have:
            whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
            if whole is not None and int(whole[1]) == have:
                # Everything had come before it broke off; the sum decides.
                self.pieced = True
                return
            self._drop()
            raise _BrokenError("the file became shorter")
        if error.code in _PASSING:
            raise _BrokenError(f"the server answers {error.code}")
        hint = "give user and password in the URL" if error.code == 401 else None
        # HTTP's own words for the status (RFC 9110), not the server's.
        words = http.client.responses.get(error.code, "")
        raise self._refused(f"{shown(self.url)}: the server answers {error.code} {words}".rstrip(), hint)

    def _pump(self, read: Callable[[int], bytes], file: BinaryIO, done: int, total: int | None, ends: float) -> int:
        """Write what `read` gives to `file`; return the size of the file then."""
        told = 0.0
        while data := _some(read):
            view = memoryview(data)
            while view:
                view = view[file.write(view) :]
            done += len(data)
            now = time.monotonic()
            if now > ends:
                raise _BrokenError(f"it takes more than {DEADLINE / 3600:g} hours")
            if total and now - told > 0.1:
                self.events.progress("download", done, total)
                told = now
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


def _some(read: Callable[[int], bytes]) -> bytes:
    """Return what comes next; what fails here is the source, not the disk that is written to."""
    try:
        return read(_CHUNK)
    except http.client.HTTPException as error:
        raise _BrokenError("the connection ended before the file did") from error
    except OSError as error:
        raise _BrokenError(_reason(error)) from error


def _version(answer: http.client.HTTPResponse) -> str:
    """Return what If-Range takes (RFC 9110, 13.1.5): a strong entity tag, else the date of the last change."""
    tag = answer.headers.get("ETag", "")
    if re.fullmatch(r'"[!#-~]*"', tag):
        return tag
    date = answer.headers.get("Last-Modified", "")
    return date if re.fullmatch(r"[A-Za-z0-9 ,:+-]{1,64}", date) else ""


def _reason(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {STALLED:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return reason.strerror
    return f"the connection failed ({type(reason).__name__})"
