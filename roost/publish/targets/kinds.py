"""The table of storage kinds: from a URL, or the path of a directory, to the target that it names.

A new kind is a module with its class, and a line here. The modules are imported when a URL needs them, because their
libraries are slow to import.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from urllib.parse import urlsplit

from roost.errors import UsageError
from roost.host import extras
from roost.publish.targets.directory import Directory
from roost.publish.targets.target import Target
from roost.recipe.words import shown


def _sftp(url: str) -> Target:
    extras.require("sftp")
    from roost.publish.targets.sftp import Sftp

    return Sftp(url)


def _s3(url: str) -> Target:
    extras.require("s3")
    from roost.publish.targets.s3 import ObjectStore

    return ObjectStore.open(url)


def _memory(url: str) -> Target:
    from roost.publish.targets.memory import Memory

    return Memory.open(url)


def _remote(url: str) -> Target:
    from roost.publish.targets.remote import Remote

    return Remote.open(url)


#: Schemes that fsspec opens but that show partial files, or that are not storage at all.
_NOT_PLACES = frozenset(
    [
        *("ftp", "smb", "hdfs", "arrow_hdfs", "webhdfs", "webHDFS", "git", "github", "gist", "jupyter", "jlab", "data"),
        *("zip", "tar", "libarchive", "reference", "dir", "dask", "generic", "cached", "blockcache", "filecache"),
        *("simplecache", "asynclocal", "asyncwrapper", "sync-wrapper"),
    ]
)

#: A scheme followed by one slash only.
_HALF_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]+:/")

#: Openers by URL scheme; `_remote` opens any other.
_KINDS: Mapping[str, Callable[[str], Target]] = {"sftp": _sftp, "ssh": _sftp, "s3": _s3, "s3a": _s3, "memory": _memory}


def local_path(url: str) -> str | None:
    """Return the path of a plain path or file URL, None for other URLs.

    Raises `UsageError` for a file URL that names another host, and for half a URL.
    """
    scheme, marked, path = url.partition("://")
    if not marked:
        if _HALF_URL.match(url):
            # Taken as a path, this would be a directory `file:` in the current one.
            hint = f"two slashes make a URL; ./{shown(url)} is a directory of that name"
            raise UsageError(f"{shown(url)} is neither a URL nor a plain path", hint=hint)
        return url
    if scheme.lower() not in {"file", "local"}:
        return None
    host, slash, rest = path.partition("/")
    if host not in {"", "localhost"}:
        what = f"{shown(url)} names a host, '{shown(host)}', and a file URL is of this machine"
        raise UsageError(what, hint=f"{scheme}:///{shown(path)} (three slashes), or a plain path")
    return f"{slash}{rest}"


def _directory(path: Path) -> Path:
    """Return a path that is a directory or does not exist; raise `UsageError` for one where no directory can be."""
    # os.path returns False for a path that it cannot check; reading or writing reports the error.
    nearest = next((one for one in (path, *path.parents) if os.path.lexists(one)), None)
    if nearest is not None and os.path.exists(nearest) and not os.path.isdir(nearest):  # noqa: PTH110, PTH112
        raise UsageError(f"{shown(str(nearest), 200)} is not a directory", hint="name the directory of a catalogue")
    return path


def open_target(url: str) -> Target:
    """Return the target for a URL or a directory's path; nothing is written yet.

    Raises `UsageError` for a URL that is not supported or contains a password, `HostError` if opening it fails.
    """
    try:
        parts = urlsplit(url) if "://" in url else None
        _port = parts and parts.port
    except ValueError as error:
        raise UsageError(f"{shown(url)} is not a valid URL", hint="SCHEME://HOST[:PORT]/PATH") from error
    path = local_path(url)
    if parts is None or path is not None:
        if not path:
            raise UsageError("no catalogue to publish to", hint="--to DIRECTORY, or a URL")
        return Directory(_directory(Path(path).expanduser()))
    if parts.password is not None:
        raise UsageError(
            f"the URL of {parts.hostname} has a password in it",
            hint="use the environment, an agent or a key file; see docs/publishing.md",
        )
    if parts.scheme in _NOT_PLACES or "::" in url:
        what = f"{shown(url.partition('://')[0])}:// is not a supported kind of catalogue"
        raise UsageError(what, hint="a directory, s3://BUCKET/PREFIX, sftp://USER@HOST/PATH or https://HOST/PATH")
    return _KINDS.get(parts.scheme, _remote)(url)
