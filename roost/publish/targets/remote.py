"""A catalogue on any storage that fsspec opens by URL; subclasses are for storage that needs more."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, ClassVar, Self

import fsspec
from fsspec.callbacks import Callback

from roost.errors import HostError, UsageError
from roost.host import causes
from roost.publish.targets.target import CHUNK, Progress, Target, checked, failing, unwatched


class Remote(Target):
    """Storage opened by fsspec. An upload appears atomically, as on S3 and other object stores."""

    grace = 0.5
    #: Options for fsspec in addition to the URL.
    options: ClassVar[dict[str, Any]] = {"skip_instance_cache": True}

    def __init__(self, url: str, filesystem: Any, root: str) -> None:
        super().__init__(url)
        self._fs = filesystem
        self._root = root.rstrip("/")

    @classmethod
    def open(cls, url: str) -> Self:
        """Return the target for a URL.

        Raises `UsageError` for a URL that fsspec does not know, `HostError` when the storage cannot be reached.
        """
        try:
            # A web server is accessed through the proxy in the environment, as for every download.
            web = url.partition(":")[0] in {"http", "https"}
            options = {**cls.options, "client_kwargs": {"trust_env": True}} if web else cls.options
            filesystem, root = fsspec.url_to_fs(url, **options)
        except (ValueError, ImportError) as error:
            raise UsageError(f"{url.partition(':')[0]}:// cannot be opened: {causes.reason(error)}") from error
        except Exception as error:
            raise HostError(f"{url} cannot be opened: {causes.reason(error)}") from error
        return cls(url, filesystem, str(root))

    def _path(self, path: str) -> str:
        return f"{self._root}/{path}" if path else self._root

    @contextmanager
    def _asking(self, what: str, *, writing: bool = False) -> Iterator[None]:
        with failing(f"{self.url}: cannot {what}", writing=writing):
            # A cached listing may lack what another publisher has written since.
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
        """Return the bytes of a small file: in one request, where `stream` first requests the size.

        Not from a web server, whose answer may be endless: fsspec reads one request to its end.
        """
        if self.url.partition(":")[0] in {"http", "https"}:
            return super().read(path)
        with self._asking(f"read {path}"):
            try:
                return bytes(self._fs.cat_file(self._path(path)))
            except (FileNotFoundError, IsADirectoryError):
                return None

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        with self._asking(f"list {path or 'it'}"):
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

    def put(self, path: str, source: Path, sha256: str, progress: Progress = unwatched) -> None:
        """Copy a local file here; it is checksummed before, and read back after."""
        with self._asking(f"write {path}", writing=True):
            for _ in checked(source, sha256):
                pass
            self._parent(path)
            with self._bucket_errors():
                self._fs.put_file(str(source), self._path(path), callback=_callback(progress))

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with self._asking(f"write {path}", writing=True):
            self._parent(path)
            with self._bucket_errors():
                self._fs.pipe_file(self._path(path), data)

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists; on S3 the server makes this exclusive."""
        with self._asking(f"write {path}", writing=True):
            self._parent(path)
            try:
                with self._bucket_errors():
                    self._fs.pipe_file(self._path(path), data, mode="create")
            except FileExistsError:
                return False
            except OSError as error:
                # s3fs has no exception class for a failed precondition.
                if any(word in str(error) for word in ("PreconditionFailed", "pre-conditions", "ConditionalRequest")):
                    return False
                raise
            return True

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._asking(f"remove {path}", writing=True), suppress(FileNotFoundError):
            self._fs.rm_file(self._path(path))

    @contextmanager
    def _bucket_errors(self) -> Iterator[None]:
        """Turn the error for a missing bucket, on writing, into one that differs from that for a missing file."""
        try:
            yield
        except FileNotFoundError as error:
            raise OSError(str(error) or "there is no such place") from error

    def _parent(self, path: str) -> None:
        # Object stores have no directories; other storage needs them first.
        self._fs.makedirs(self._path(path).rpartition("/")[0], exist_ok=True)


def _callback(progress: Progress) -> Callback:
    callback = Callback()
    callback.relative_update = progress
    return callback
