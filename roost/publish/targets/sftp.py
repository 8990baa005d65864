"""A catalogue on an SFTP server, using fsspec's sftp over paramiko, with verified host keys and atomic names.

The server must be known: its key is in ~/.ssh/known_hosts, or in the file named by ROOST_SFTP_KNOWN_HOSTS. The
client's key is the agent's, one of ~/.ssh, or the file named by ROOST_SFTP_KEY.
"""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

import paramiko
from fsspec.implementations.sftp import SFTPFileSystem

from roost.errors import HostError, ImageError
from roost.host import causes, files
from roost.publish.layout import PARTIAL
from roost.publish.targets.remote import Remote
from roost.publish.targets.target import CHUNK, SMALL, Progress, checked, unwatched

#: Timeout in seconds for a server that does not answer.
TIMEOUT = 30.0


class _Known(SFTPFileSystem):  # type: ignore[misc, unused-ignore]  # fsspec carries no types
    """fsspec's SFTP restricted to servers with a known key: by default it accepts any."""

    def _connect(self) -> None:
        client = paramiko.SSHClient()
        known = os.environ.get("ROOST_SFTP_KNOWN_HOSTS")
        client.load_system_host_keys(known or None)
        client.set_missing_host_key_policy(paramiko.RejectPolicy())
        client.connect(self.host, **self.ssh_kwargs)
        self.client = client
        self.ftp = client.open_sftp()


class Sftp(Remote):
    """sftp://[USER@]HOST[:PORT]/PATH; the path is absolute."""

    def __init__(self, url: str) -> None:
        parts = urlsplit(url)
        options: dict[str, Any] = {"port": parts.port or 22, "timeout": TIMEOUT, "skip_instance_cache": True}
        if parts.username:
            options["username"] = unquote(parts.username)
        if key := os.environ.get("ROOST_SFTP_KEY"):
            options |= {"key_filename": key, "look_for_keys": False, "allow_agent": False}
        try:
            filesystem = _Known(parts.hostname or "", **options)
        except (paramiko.SSHException, OSError) as error:
            unknown = "not found in known_hosts" in str(error)
            hint = "add its key: ssh-keyscan HOST >> ~/.ssh/known_hosts" if unknown else "does `sftp` connect?"
            raise HostError(f"{url} cannot be reached: {causes.reason(error)}", hint=hint) from error
        super().__init__(url, filesystem, parts.path or "/")
        self._ftp: paramiko.SFTPClient = filesystem.ftp

    def stream(self, path: str) -> Iterator[bytes]:
        """Yield the bytes of a file."""
        with self._asking(f"read {path}"), self._ftp.open(self._path(path), "rb") as file:
            # Pipeline the requests: a round trip for each would take minutes for an image.
            file.prefetch()
            while data := file.read(CHUNK):
                yield data

    def read(self, path: str) -> bytes | None:
        """Return the bytes of a small file."""
        with self._asking(f"read {path}"):
            try:
                with self._ftp.open(self._path(path), "rb") as file:
                    data = bytes(file.read(SMALL + 1))
            except FileNotFoundError:
                return None
        if len(data) > SMALL:
            raise ImageError(f"{self.url}: {path} is larger than {files.size_in_words(SMALL)}")
        return data

    def put(self, path: str, source: Path, sha256: str, progress: Progress = unwatched) -> None:
        """Copy a local file here; a file with a wrong checksum never gets the name."""
        with self._asking(f"write {path}"), self._partial(path) as partial:
            with self._ftp.open(partial, "wb") as file:
                file.set_pipelined(True)
                for data in checked(source, sha256):
                    file.write(data)
                    progress(len(data))
            self._ftp.posix_rename(partial, self._path(path))

    def write(self, path: str, data: bytes) -> None:
        """Write a small file."""
        with self._asking(f"write {path}"), self._partial(path) as partial:
            self._fill(partial, data)
            self._ftp.posix_rename(partial, self._path(path))

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists: SFTP's rename (version 3) fails if the name exists."""
        with self._asking(f"write {path}"), self._partial(path) as partial:
            self._fill(partial, data)
            try:
                self._ftp.rename(partial, self._path(path))
            except OSError:
                if self.size(path) is None:
                    raise
                return False
            return True

    def remove(self, path: str) -> None:
        """Remove a file."""
        with self._asking(f"remove {path}"), suppress(FileNotFoundError):
            self._ftp.remove(self._path(path))

    def prune(self, path: str) -> None:
        """Remove a directory if it is empty."""
        with suppress(OSError):
            self._ftp.rmdir(self._path(path))

    def modified(self, path: str) -> float | None:
        """Return the modification time of a file."""
        with suppress(OSError):
            found = self._ftp.lstat(self._path(path)).st_mtime
            return float(found) if found is not None else None
        return None

    @contextmanager
    def _partial(self, path: str) -> Iterator[str]:
        final = self._path(path)
        directory, _, name = final.rpartition("/")
        self._directories(directory)
        partial = f"{directory}/{PARTIAL}{os.getpid()}-{threading.get_ident()}-{name}"
        try:
            yield partial
        finally:
            with suppress(OSError):
                self._ftp.remove(partial)

    def _directories(self, directory: str) -> None:
        """Create a directory and its parents; another publisher may create them at the same time."""
        made = ""
        for part in directory.strip("/").split("/"):
            made += f"/{part}"
            try:
                self._ftp.stat(made)
            except FileNotFoundError:
                try:
                    self._ftp.mkdir(made)
                except OSError as error:
                    if error.errno in {errno.EACCES, errno.EPERM}:
                        raise
                    self._ftp.stat(made)

    def _fill(self, partial: str, data: bytes) -> None:
        with self._ftp.open(partial, "wb") as file:
            file.write(data)
