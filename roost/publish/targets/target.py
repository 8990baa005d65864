"""The place that a catalogue is in: a folder, s3://, sftp://, or whatever else fsspec opens by its URL.

Everything goes through five promises, and each kind of place keeps them in its own way:

    put, write   a name shows the whole file or nothing, whenever the writer is killed
    create       of several that create one name, one is told that it did; never overwrites
    read, stream what is there now, from the place itself and not from a cache

A folder does it by files of another name that are renamed or linked (POSIX: both atomic). SFTP likewise, with OpenSSH's
posix-rename and SFTP's own rename, which refuses a name that exists. S3 makes every upload visible whole, and creates
by a conditional PUT (If-None-Match: *). Other fsspec places are asked for their mode "create"; how exclusive that is,
their own documents say.

Credentials come from the environment and each protocol's files (AWS_*, ~/.aws; ssh's agent and keys), never in a URL.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from roost.errors import HostError, ImageError, RoostError, UsageError
from roost.host import files
from roost.publish.layout import PARTIAL

CHUNK = 4 << 20
#: Bytes of what describes an image: records, bills of materials, reports.
SMALL = 64 << 20

#: Told of bytes that are behind us.
Progress = Callable[[int], None]


def _silent(_bytes: int) -> None:
    return None


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
        """Return the sorted names in a folder, `/` at the end of those of folders; none when there is no folder."""

    @abstractmethod
    def size(self, path: str) -> int | None:
        """Return the size of a file in bytes, or None when there is none."""

    @abstractmethod
    def put(self, path: str, source: Path, sha256: str, progress: Progress = _silent) -> None:
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

    def prune(self, path: str) -> None:  # noqa: B027  (object stores have no folders, and nothing to do)
        """Remove a folder if it is empty."""

    def modified(self, path: str) -> float | None:
        """Return when a file was written last, in seconds since 1970; None when there is none or nobody knows."""
        return None

    @property
    def local(self) -> Path | None:
        """The folder on this machine, if it is one."""
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

    def digest(self, path: str, progress: Progress = _silent) -> str | None:
        """Return the sha256 of a file as read back from here, or None when there is none."""
        hashed = hashlib.sha256()
        try:
            for chunk in self.stream(path):
                hashed.update(chunk)
                progress(len(chunk))
        except FileNotFoundError:
            return None
        return hashed.hexdigest()


class Folder(Target):
    """A folder of this machine, perhaps on a shared file system.

    Published files are writable for their owner: HTCondor's copies keep the mode, and a machine must write to its own.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100  (no links followed: users see this path)
        super().__init__(str(self._root))

    @property
    def local(self) -> Path | None:
        """The folder itself."""
        return self._root

    def _path(self, path: str) -> Path:
        return self._root / path if path else self._root

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""
        with _failing(f"{self.url}: cannot read {path}"), files.open_regular(self._path(path)) as file:
            while data := file.read(CHUNK):
                yield data

    def names(self, path: str) -> list[str]:
        """Return the names in a folder."""
        with _failing(f"{self.url}: cannot list {path}"):
            try:
                return sorted(f"{one.name}/" if one.is_dir() else one.name for one in self._path(path).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def size(self, path: str) -> int | None:
        """Return the size of a file."""
        with _failing(f"{self.url}: cannot read {path}"):
            try:
                return self._path(path).stat().st_size if self._path(path).is_file() else None
            except FileNotFoundError:
                return None

    def put(self, path: str, source: Path, sha256: str, progress: Progress = _silent) -> None:
        """Copy a local file here, holes kept; what is wrong never gets the name."""
        with _failing(f"{self.url}: cannot write {path}"), self._partial(path) as partial:
            with partial.open("xb") as file:
                for data in checked(source, sha256):
                    # A block of zeros is a hole: images are sparse, and their copies should be.
                    if data.count(0) == len(data):
                        file.seek(len(data), os.SEEK_CUR)
                    else:
                        file.write(data)
                    progress(len(data))
                file.truncate(file.tell())
                file.flush()
                os.fsync(file.fileno())
            partial.chmod(0o644)
            files.require_replaceable(self._path(path))
            partial.replace(self._path(path))

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with _failing(f"{self.url}: cannot write {path}"), self._partial(path) as partial:
            self._fill(partial, data)
            files.require_replaceable(self._path(path))
            partial.replace(self._path(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists: a link is made or it is not."""
        with _failing(f"{self.url}: cannot write {path}"), self._partial(path) as partial:
            self._fill(partial, data)
            try:
                os.link(partial, self._path(path))
            except FileExistsError:
                return False
            return True

    def remove(self, path: str) -> None:
        """Remove a file."""
        with _failing(f"{self.url}: cannot remove {path}"):
            self._path(path).unlink(missing_ok=True)

    def prune(self, path: str) -> None:
        """Remove a folder if it is empty."""
        with contextlib.suppress(OSError):
            self._path(path).rmdir()

    def modified(self, path: str) -> float | None:
        """Return when a file was written last."""
        with contextlib.suppress(OSError):
            return self._path(path).lstat().st_mtime
        return None

    @contextmanager
    def _partial(self, path: str) -> Iterator[Path]:
        final = self._path(path)
        final.parent.mkdir(parents=True, exist_ok=True)
        partial = final.with_name(f"{PARTIAL}{os.getpid()}-{threading.get_ident()}-{final.name}")
        partial.unlink(missing_ok=True)
        try:
            yield partial
        finally:
            partial.unlink(missing_ok=True)

    @staticmethod
    def _fill(partial: Path, data: bytes) -> None:
        with partial.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.chmod(0o644)


class Remote(Target):
    """A place that fsspec opens. An upload there shows whole or not at all, as S3 and object stores have it."""

    grace = 0.5

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        super().__init__(url)
        self._fs = filesystem
        self._root = root.rstrip("/")

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _asking(self, what: str) -> Iterator[None]:
        with _failing(f"{self.url}: cannot {what}"):
            # A listing of a moment ago says nothing of what another publisher has written since.
            self._fs.invalidate_cache()
            yield

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""
        with (
            self._asking(f"read {path}"),
            self._fs.open(self._path(path), "rb", block_size=CHUNK, cache_type="none") as file,
        ):
            while data := file.read(CHUNK):
                yield data

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a small file: in one request, where `stream` asks for the size first."""
        with self._asking(f"read {path}"):
            try:
                return bytes(self._fs.cat_file(self._path(path)))
            except (FileNotFoundError, IsADirectoryError):
                return None

    def names(self, path: str) -> list[str]:
        """Return the names in a folder."""
        with self._asking(f"list {path}"):
            try:
                entries = self._fs.ls(self._path(path), detail=True)
            except (FileNotFoundError, NotADirectoryError):
                return []
        found = set()
        for entry in entries:
            name = str(entry["name"]).rstrip("/").rpartition("/")[2]
            if str(entry["name"]).strip("/") != self._path(path).strip("/") and name:
                found.add(f"{name}/" if entry["type"] == "directory" else name)
        return sorted(found)

    def size(self, path: str) -> int | None:
        """Return the size of a file."""
        with self._asking(f"read {path}"):
            try:
                found = self._fs.info(self._path(path))
            except FileNotFoundError:
                return None
            return int(found["size"]) if found["type"] == "file" and found["size"] is not None else None

    def put(self, path: str, source: Path, sha256: str, progress: Progress = _silent) -> None:
        """Copy a local file here; it is summed before, and read back after."""
        with self._asking(f"write {path}"):
            for _ in checked(source, sha256):
                pass
            self._parent(path)
            with self._there():
                self._fs.put_file(str(source), self._path(path), callback=_callback(progress))

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with self._asking(f"write {path}"):
            self._parent(path)
            with self._there():
                self._fs.pipe_file(self._path(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists; S3 decides who is first."""
        with self._asking(f"write {path}"):
            self._parent(path)
            try:
                with self._there():
                    self._fs.pipe_file(self._path(path), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                # s3fs has no class of its own for a refused condition.
                if any(word in str(error) for word in ("PreconditionFailed", "pre-conditions", "ConditionalRequest")):
                    return False
                raise
            return True

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._asking(f"remove {path}"), contextlib.suppress(FileNotFoundError):
            self._fs.rm_file(self._path(path))

    @contextmanager
    def _there(self) -> Iterator[None]:
        """Turn what says that there is no such bucket, where one writes, into another error than for a missing file."""
        try:
            yield
        except FileNotFoundError as error:
            raise OSError(str(error) or "there is no such place") from error

    def _parent(self, path: str) -> None:
        # Object stores have no folders; those that do need them first.
        self._fs.makedirs(self._path(path).rpartition("/")[0], exist_ok=True)


class ObjectStore(Remote):
    """s3://: there are no folders, and a bucket is not ours to make."""

    def _parent(self, path: str) -> None:
        return None


class Memory(Remote):
    """memory://, for tests: one process, so a lock decides who is first."""

    _lock = threading.Lock()

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists."""
        with self._lock:
            if self._fs.exists(self._path(path)):
                return False
            self.write(path, data)
            return True


def _callback(progress: Progress) -> Any:
    from fsspec.callbacks import Callback

    told = Callback()
    told.relative_update = progress
    return told


@contextmanager
def _failing(what: str) -> Iterator[None]:
    """Turn what a place throws into one error of roost; `FileNotFoundError` passes."""
    try:
        yield
    except (RoostError, FileNotFoundError, GeneratorExit):
        raise
    except Exception as error:
        # boto, paramiko and aiohttp each have a family of their own.
        said = str(error).strip() or type(error).__name__
        raise HostError(f"{what}: {said}", hint="is the place reachable, and may you write there?") from error


def open_target(url: str) -> Target:
    """Return the place that a URL or a folder's path names; nothing is written yet.

    Raises `UsageError` for a URL that nobody opens or that has a password in it, `HostError` for one that fails.
    """
    parts = urlsplit(url) if "://" in url else None
    if parts is None or parts.scheme in {"file", "local"}:
        path = url if parts is None else url.split("://", 1)[1]
        if not path:
            raise UsageError("there is no place to publish to", hint="--to FOLDER, or a URL")
        return Folder(Path(path).expanduser())
    if parts.password is not None:
        raise UsageError(
            f"the URL of {parts.hostname} has a password in it",
            hint="use the environment, an agent or a key file; see Publish in the README",
        )
    if parts.scheme in {"sftp", "ssh"}:
        from roost.publish.targets.sftp import Sftp

        return Sftp(url)
    import fsspec

    try:
        options = {"use_listings_cache": False} if parts.scheme in {"s3", "s3a"} else {}
        filesystem, root = fsspec.url_to_fs(url, skip_instance_cache=parts.scheme != "memory", **options)
    except (ValueError, ImportError) as error:
        raise UsageError(f"{parts.scheme}:// cannot be opened: {error}") from error
    except Exception as error:
        raise HostError(f"{url} cannot be opened: {error}") from error
    kind = {"memory": Memory, "s3": ObjectStore, "s3a": ObjectStore}.get(parts.scheme, Remote)
    return kind(url, filesystem, str(root))
