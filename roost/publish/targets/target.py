"""The storage of a catalogue, whatever its kind; `roost.publish.targets` has one module per kind.

A target guarantees the following, each kind in its own way:

    put, write   a name shows the whole file or nothing, even if the writer is killed
    create       of several processes that create a name, one succeeds; never overwrites
    read, stream the current contents, from the storage itself and not from a cache

A directory renames or links files with temporary names (POSIX: both are atomic). SFTP does the same, with
OpenSSH's posix-rename and SFTP's own rename, which refuses an existing name. S3 makes every upload visible atomically,
and creates by a conditional PUT (If-None-Match: *). Other fsspec storage is used with the mode "create"; whether that
is exclusive is up to its implementation.

Credentials come from the environment and each protocol's files (AWS_*, ~/.aws; ssh's agent and keys), never from a URL.
"""

from __future__ import annotations

import errno
import hashlib
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roost.errors import HostError, ImageError, RoostError, UsageError
from roost.host import causes, files

CHUNK = 4 << 20
#: Size limit in bytes of files that describe an image: records, bills of materials, reports.
SMALL = 64 << 20

#: Errors of the operating system for names and files that a catalogue cannot contain, on any storage.
_UNFIT = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR})

#: Called with the number of bytes processed.
Progress = Callable[[int], None]


def unwatched(_bytes: int) -> None:
    """Discard progress."""


def checked(source: Path, sha256: str) -> Iterator[bytes]:
    """Yield the bytes of a local file; raise `ImageError` at its end if they do not match the sha256."""
    hashed = hashlib.sha256()
    with files.open_regular(source) as file:
        while data := file.read(CHUNK):
            hashed.update(data)
            yield data
    if hashed.hexdigest() != sha256:
        what = f"{source.name} changed after it was examined: sha256 {hashed.hexdigest()} instead of {sha256}"
        raise ImageError(what, hint="nothing of it was published")


@contextmanager
def failing(what: str, *, writing: bool = False) -> Iterator[None]:
    """Turn exceptions of the storage into one of roost's errors; `FileNotFoundError` is passed on."""
    try:
        yield
    except (RoostError, FileNotFoundError, GeneratorExit):
        raise
    except OSError as error:
        if isinstance(error, files.UnfitFileError) or error.errno in _UNFIT:
            raise ImageError(f"{what}: {error.strerror}") from error
        cause = causes.behind(error)
        if cause is not None and cause is not causes.DENIED and error.errno != errno.EIO:
            raise causes.host_error(cause, what) from error
        raise _unreachable(what, error, writing=writing) from error
    except Exception as error:
        # boto, paramiko and aiohttp each have their own exception classes.
        raise _unreachable(what, error, writing=writing) from error


def _unreachable(what: str, error: Exception, *, writing: bool) -> HostError:
    message = causes.reason(error)
    hint = f"is it reachable, and are you allowed to {'write there' if writing else 'read it'}?"
    if "credentials" in message.lower():
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
    return HostError(f"{what}: {message}", hint=hint)


class Target(ABC):
    """Storage for files, named by paths relative to its root with / as the separator."""

    #: Seconds in which a request of a killed sender may still be executed.
    grace = 0.0

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @abstractmethod
    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file; raise `FileNotFoundError` when it does not exist."""

    @abstractmethod
    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory, with a trailing `/` for directories.

        Return an empty list if the directory does not exist.
        """

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, or None when it does not exist."""

    @abstractmethod
    def put(self, path: str, source: Path, sha256: str, progress: Progress = unwatched) -> None:
        """Copy a local file here; it appears atomically. Replaces an existing file.

        Raises `ImageError` when the file does not, or no longer, match the sha256.
        """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Write a small file; the name shows the old or the new content. Replaces an existing file."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless the name exists; return whether it was written.

        Raises `FileNotFoundError` when another process prunes the directory meanwhile.
        """

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file; a missing file is not an error."""

    def prune(self, path: str) -> None:  # noqa: B027  (object stores have no directories, and nothing to do)
        """Remove a directory if it is empty."""

    def modified(self, path: str) -> float | None:
        """Return the modification time of a file in seconds since 1970; None if it does not exist or is not known."""
        return None

    @property
    def local(self) -> Path | None:
        """The local directory of the catalogue, if it has one."""
        return None

    def require(self) -> None:
        """Raise `UsageError` if this is a local directory that does not exist: it is not a catalogue without images."""
        if self.local is not None and not os.path.lexists(self.local):
            raise UsageError(f"no such directory: '{self.local}'", hint="name the directory of a catalogue")

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a small file, or None when it does not exist."""
        try:
            held = bytearray()
            for chunk in self.stream(path):
                held += chunk
                if len(held) > SMALL:
                    raise ImageError(f"{self.url}: {path} is larger than {files.size_in_words(SMALL)}")
            return bytes(held)
        except FileNotFoundError:
            return None

    def digest(self, path: str, progress: Progress = unwatched) -> str | None:
        """Return the sha256 of a file as read back from here, or None when it does not exist."""
        hashed = hashlib.sha256()
        try:
            for chunk in self.stream(path):
                hashed.update(chunk)
                progress(len(chunk))
        except FileNotFoundError:
            return None
        return hashed.hexdigest()
