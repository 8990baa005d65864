"""A place that a catalogue is in, whatever its kind; `roost.publish.targets` has one module per kind.

Everything goes through five promises, and each kind of place keeps them in its own way:

    put, write   a name shows the whole file or nothing, whenever the writer is killed
    create       of several that create one name, one is told that it did; never overwrites
    read, stream what is there now, from the place itself and not from a cache

A directory does it by files of another name that are renamed or linked (POSIX: both atomic). SFTP likewise, with
OpenSSH's posix-rename and SFTP's own rename, which refuses a name that exists. S3 makes every upload visible whole, and
creates by a conditional PUT (If-None-Match: *). Other fsspec places are asked for their mode "create"; how exclusive
that is, their own documents say.

Credentials come from the environment and each protocol's files (AWS_*, ~/.aws; ssh's agent and keys), never in a URL.
"""

from __future__ import annotations

import errno
import hashlib
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from roost.errors import HostError, ImageError, RoostError
from roost.host import causes, files

CHUNK = 4 << 20
#: Bytes of what describes an image: records, bills of materials, reports.
SMALL = 64 << 20

#: What the operating system says of names and files that are not what a catalogue has, wherever it is.
_UNFIT = frozenset({errno.ENAMETOOLONG, errno.ELOOP, errno.EISDIR, errno.ENOTDIR})

#: Told of bytes that are behind us.
Progress = Callable[[int], None]


def unwatched(_bytes: int) -> None:
    """Report progress to nobody."""


def checked(source: Path, sha256: str) -> Iterator[bytes]:
    """Yield the bytes of a local file; raise `ImageError` at its end when they were not those of the sha256."""
    hashed = hashlib.sha256()
    with files.open_regular(source) as file:
        while data := file.read(CHUNK):
            hashed.update(data)
            yield data
    if hashed.hexdigest() != sha256:
        what = f"{source.name} changed after it was examined: sha256 {hashed.hexdigest()} instead of {sha256}"
        raise ImageError(what, hint="nothing of it was published")


@contextmanager
def failing(what: str) -> Iterator[None]:
    """Turn a place's exceptions into one error of roost; `FileNotFoundError` passes."""
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
        raise _unreachable(what, error) from error
    except Exception as error:
        # boto, paramiko and aiohttp each have a family of their own.
        raise _unreachable(what, error) from error


def _unreachable(what: str, error: Exception) -> HostError:
    said = str(error).strip() or type(error).__name__
    if isinstance(error, OSError) and error.strerror and said.startswith("[Errno"):
        # Without its number and the file, which `what` names.
        said = error.strerror
    hint = "is it reachable, and are you allowed to write there?"
    if "credentials" in said.lower():
        hint = "set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or write ~/.aws/credentials"
    return HostError(f"{what}: {said}", hint=hint)


class Target(ABC):
    """A place for files, named by paths relative to its root with / between the parts."""

    #: Seconds in which a request may still be carried out whose sender is dead.
    grace = 0.0

    def __init__(self, url: str) -> None:
        self.url = url.rstrip("/")

    @abstractmethod
    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file; raise `FileNotFoundError` when there is none."""

    @abstractmethod
    def names(self, path: str) -> list[str]:
        """Return the sorted names in a directory, `/` at the end of those of directories.

        None when there is no directory.
        """

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, or None when there is none."""

    @abstractmethod
    def put(self, path: str, source: Path, sha256: str, progress: Progress = unwatched) -> None:
        """Copy a local file here; the name shows all of it or nothing. Replaces.

        Raises `ImageError` when the file is not, or is no longer, what has this sha256.
        """

    @abstractmethod
    def write(self, path: str, data: bytes) -> None:
        """Write a small file; the name shows the old or the new content. Replaces."""

    @abstractmethod
    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless the name exists; return whether it was us."""

    @abstractmethod
    def remove(self, path: str) -> None:
        """Remove a file; one that is not there is no error."""

    def prune(self, path: str) -> None:  # noqa: B027  (object stores have no directories, and nothing to do)
        """Remove a directory if it is empty."""

    def modified(self, path: str) -> float | None:
        """Return when a file was written last, in seconds since 1970; None when there is none or nobody knows."""
        return None

    @property
    def local(self) -> Path | None:
        """The directory on this machine, if it is one."""
        return None

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a small file, or None when there is none."""
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
        """Return the sha256 of a file as read back from here, or None when there is none."""
        hashed = hashlib.sha256()
        try:
            for chunk in self.stream(path):
                hashed.update(chunk)
                progress(len(chunk))
        except FileNotFoundError:
            return None
        return hashed.hexdigest()
