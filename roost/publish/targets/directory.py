"""A catalogue in a local directory, possibly on a shared file system."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from roost.host import files
from roost.publish.layout import PARTIAL
from roost.publish.targets.target import CHUNK, Progress, Target, checked, failing, unwatched


class Directory(Target):
    """A directory, by its path.

    Published files are writable by their owner: HTCondor's copies keep the mode, and a machine writes to its copy.
    """

    def __init__(self, root: Path) -> None:
        self._root = Path(os.path.abspath(root))  # noqa: PTH100  (no links followed: users see this path)
        super().__init__(str(self._root))

    @property
    def local(self) -> Path | None:
        """The directory itself."""
        return self._root

    def _path(self, path: str) -> Path:
        found = self._root / path if path else self._root
        if "\0" in str(found):
            raise files.UnfitFileError(errno.EINVAL, "not a valid file name", str(found))
        return found

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""
        with failing(f"{self.url}: cannot read {path}"), files.open_regular(self._path(path)) as file:
            while data := file.read(CHUNK):
                yield data

    def names(self, path: str) -> list[str]:
        """Return the names in a directory."""
        with failing(f"{self.url}: cannot list {path or 'it'}"):
            try:
                return sorted(f"{one.name}/" if one.is_dir() else one.name for one in self._path(path).iterdir())
            except (FileNotFoundError, NotADirectoryError):
                return []

    def size(self, path: str) -> int | None:
        """Return the size of a file."""
        with failing(f"{self.url}: cannot read {path}"):
            try:
                return self._path(path).stat().st_size if self._path(path).is_file() else None
            except FileNotFoundError:
                return None

    def put(self, path: str, source: Path, sha256: str, progress: Progress = unwatched) -> None:
        """Copy a local file here, preserving holes; a file with a wrong checksum never gets the name."""
        with failing(f"{self.url}: cannot write {path}", writing=True), self._partial(path) as partial:
            with partial.open("xb") as file:
                for data in checked(source, sha256):
                    # Blocks of zeros become holes: images are sparse, and their copies should be.
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
        with failing(f"{self.url}: cannot write {path}", writing=True), self._partial(path) as partial:
            self._fill(partial, data)
            files.require_replaceable(self._path(path))
            partial.replace(self._path(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists; link(2) is atomic."""
        with failing(f"{self.url}: cannot write {path}", writing=True), self._partial(path) as partial:
            self._fill(partial, data)
            try:
                os.link(partial, self._path(path))
            except FileExistsError:
                return False
            return True

    def remove(self, path: str) -> None:
        """Remove a file."""
        with failing(f"{self.url}: cannot remove {path}", writing=True):
            self._path(path).unlink(missing_ok=True)

    def prune(self, path: str) -> None:
        """Remove a directory if it is empty."""
        with suppress(OSError):
            self._path(path).rmdir()

    def modified(self, path: str) -> float | None:
        """Return the modification time of a file."""
        with suppress(OSError):
            return self._path(path).lstat().st_mtime
        return None

    @contextmanager
    def _partial(self, path: str) -> Iterator[Path]:
        final = self._path(path)
        try:
            final.parent.mkdir(parents=True, exist_ok=True)
        except FileExistsError:
            # Or it was there, and another process removed it before it was examined.
            if not final.parent.is_dir():
                if os.path.lexists(final.parent):
                    raise
                raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), str(final.parent)) from None
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
