"""One HTTP request for a file or the rest of it: temporary failures are told apart from final ones.

A redirect is followed to http and https only, and the password of a URL is sent only to its own server.
"""

from __future__ import annotations

import http.client
import re
import ssl
import urllib.error
import urllib.request
from base64 import b64encode
from urllib.parse import unquote, urlsplit, urlunsplit

import roost
from roost.host import causes

#: Seconds without data before a connection counts as stalled.
STALLED = 60.0
#: Statuses of temporary server failures.
_PASSING = frozenset({408, 425, 429, 500, 502, 503, 504})


class BrokenError(Exception):
    """The connection or the server failed, perhaps temporarily."""


class ChangedError(BrokenError):
    """The server has a different file than the one partially downloaded."""


class RefusedError(Exception):
    """The server refuses the file; `hint` says what to do."""

    def __init__(self, what: str, hint: str | None = None) -> None:
        super().__init__(what)
        self.hint = hint


class UntrustedError(Exception):
    """The server's certificate is not trusted by this host."""


def shown(url: str) -> str:
    """Return a URL for logs and errors: without user, password and query (which may hold a signature)."""
    try:
        parts = urlsplit(url)
    except ValueError:
        return "the URL"
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", "")) + ("?…" if parts.query else "")


def get(url: str, have: int, version: str) -> http.client.HTTPResponse | None:
    """Return the answer with a file, None when it has no more than the `have` bytes already here.

    The answer is the rest (206) if the file is still the one of `version`, else all of it. Raises `BrokenError` when a
    retry may help, `RefusedError` and `UntrustedError` when it cannot.
    """
    # Not urlopen: it also opens ftp: and file:, to which a redirect could lead.
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
        answer: http.client.HTTPResponse = opener.open(_request(url, have, version), timeout=STALLED)
        return answer
    except urllib.error.HTTPError as error:
        error.close()
        if _complete(error, have):
            return None
        raise _refusal(url, error, have) from error
    except urllib.error.URLError as error:
        if isinstance(error.reason, ssl.SSLCertVerificationError):
            raise UntrustedError(f"{shown(url)}: {error.reason.verify_message}") from error
        raise BrokenError(_reason(error.reason)) from error
    except (http.client.InvalidURL, ValueError, OverflowError) as error:
        # A malformed redirect: http://[::1/x, http://h:99999/. Its text may hold a password.
        raise RefusedError(f"{shown(url)} redirects to something that is not a URL") from error
    except http.client.HTTPException as error:
        raise BrokenError("the answer is not valid HTTP") from error
    except (TimeoutError, ConnectionError, ssl.SSLError) as error:
        raise BrokenError(_reason(error)) from error


def _complete(error: urllib.error.HTTPError, have: int) -> bool:
    """Return whether an answer says that nothing follows the bytes already here (RFC 9110, 15.5.17)."""
    whole = re.fullmatch(r"bytes \*/(\d+)", error.headers.get("Content-Range", "").strip())
    return error.code == 416 and have > 0 and whole is not None and int(whole[1]) == have


def _refusal(url: str, error: urllib.error.HTTPError, have: int) -> Exception:
    if error.code == 416 and have:
        return ChangedError("the file became shorter")
    if error.code in _PASSING:
        return BrokenError(f"the server answers {error.code}")
    hint = "give user and password in the URL" if error.code == 401 else None
    # HTTP's own reason phrase (RFC 9110), not the server's.
    words = http.client.responses.get(error.code, "")
    return RefusedError(f"{shown(url)}: the server answers {error.code} {words}".rstrip(), hint)


def _request(url: str, have: int, version: str) -> urllib.request.Request:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    request = urllib.request.Request(urlunsplit((parts.scheme, host, parts.path, parts.query, "")))
    request.add_header("User-Agent", f"roost/{roost.__version__}")
    if parts.username is not None:
        pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}".encode()
        # Unredirected: the password is for this server only.
        request.add_unredirected_header("Authorization", f"Basic {b64encode(pair).decode()}")
    if have:
        request.add_header("Range", f"bytes={have}-")
        if version:
            request.add_header("If-Range", version)
    return request


def start(answer: http.client.HTTPResponse, have: int) -> int:
    """Return the offset of an answer's body in the file: `have` or 0. Raises `ChangedError`."""
    if answer.status != 206:
        return 0
    given = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    if given is None or int(given[1]) != have:
        raise ChangedError("the server sent a different part than requested")
    return have


def length(answer: http.client.HTTPResponse) -> int | None:
    """Return the bytes of an answer's body, None when unknown."""
    value = answer.headers.get("Content-Length", "")
    return int(value) if re.fullmatch(r"\d{1,18}", value) else None


def version(answer: http.client.HTTPResponse) -> str:
    """Return the value for If-Range (RFC 9110, 13.1.5): a strong entity tag, else the date of the last change."""
    tag = answer.headers.get("ETag", "")
    if re.fullmatch(r'"[!#-~]*"', tag):
        return tag
    date = answer.headers.get("Last-Modified", "")
    return date if re.fullmatch(r"[A-Za-z0-9 ,:+-]{1,64}", date) else ""


def some(answer: http.client.HTTPResponse, size: int) -> bytes:
    """Return the next part of a body, at most `size` bytes; raise `BrokenError` when there is none."""
    try:
        return answer.read1(size)
    except http.client.HTTPException as error:
        raise BrokenError("the connection ended before the file did") from error
    except OSError as error:
        raise BrokenError(_reason(error)) from error


def _reason(reason: object) -> str:
    if isinstance(reason, TimeoutError):
        return f"no answer within {STALLED:g} s"
    if isinstance(reason, OSError) and reason.strerror:
        return causes.reason(reason)
    return "the connection failed"
