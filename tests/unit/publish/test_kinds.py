"""Which URLs name a place, and how those that do not are told."""

from __future__ import annotations

import contextlib
import errno
import os
import re
import socket
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from roost.errors import HostError, ImageError, UsageError
from roost.publish import verify
from roost.publish.targets import target
from roost.publish.targets.kinds import open_target
from roost.publish.targets.s3 import ObjectStore


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("s3://", "names no bucket"),
        ("s3:///prefix", "names no bucket"),
        ("s3://{bucket}/x", "not a valid bucket name"),
        ("ftp://example.org/x", "ftp:// is not a supported kind of catalogue"),
        ("FTP://example.org/x", "FTP:// is not a supported kind of catalogue"),
        ("simplecache::s3://bucket/x", "is not a supported kind of catalogue"),
        ("gopher://example.org/x", "gopher"),
        ("file://tmp/x", r"names a host, 'tmp', .* \(file:///tmp/x \(three slashes\), or a plain path\)"),
        ("local://tmp/x", "names a host, 'tmp'"),
        ("file://~/x", "names a host, '~'"),
        ("file://", "no catalogue"),
        ("file://localhost", "no catalogue"),
        ("file:/tmp/x", r"neither a URL nor a plain path \(two slashes make a URL; \./file:/tmp/x is a directory"),
        ("s3:/bucket/x", "neither a URL nor a plain path"),
    ],
)
def test_a_url_that_names_no_place_is_a_wrong_call(url: str, message: str) -> None:
    with pytest.raises(UsageError) as raised:
        open_target(url)
    assert re.search(message, str(raised.value))


@pytest.mark.parametrize("name", ["file", "file/below", "fifo", "link"])
def test_what_is_not_a_directory_is_a_wrong_call(name: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to("file")
    os.mkfifo(tmp_path / "fifo")
    for url in (f"{tmp_path}/{name}", f"file://{tmp_path}/{name}"):
        with pytest.raises(UsageError, match="is not a directory"):
            open_target(url)


def test_a_directory_need_not_be_there_yet(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(".")
    for name in ("new", "new/below", "link", "link/new", "x" * 300, "file:/x"):
        for url in (f"{tmp_path}/{name}", f"file://{tmp_path}/{name}", f"file://localhost{tmp_path}/{name}"):
            assert open_target(url).url == f"{tmp_path}/{name}"
    monkeypatch.chdir(tmp_path)
    assert open_target("./file:/x").url == f"{tmp_path}/file:/x"


class _Bucketless:
    """An object store without any bucket, as s3fs answers for one."""

    def invalidate_cache(self) -> None:
        return None

    def ls(self, _path: str, detail: bool) -> list[dict[str, Any]]:
        raise FileNotFoundError

    def exists(self, _bucket: str) -> bool:
        return False


def test_a_bucket_that_is_not_there_is_no_empty_catalogue() -> None:
    with pytest.raises(UsageError, match="there is no bucket gone"):
        ObjectStore("s3://gone/x", _Bucketless(), "gone/x").names("")


@pytest.mark.parametrize("url", ["http://[::1/x", "s3://[/x", "sftp://host:99999999/x", "sftp://host:x/y"])
def test_what_is_not_a_url_is_a_wrong_call(url: str) -> None:
    with pytest.raises(UsageError, match="is not a valid URL"):
        open_target(url)


@pytest.mark.parametrize("path", ["a" * 300, "fifo", "loop", "a\0b", "file/below", "zero"])
def test_what_a_catalogue_cannot_have_is_not_the_hosts_fault(path: str, tmp_path: Path) -> None:
    """A sum's line may name anything; the place is there all the same."""
    os.mkfifo(tmp_path / "fifo")
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "zero").symlink_to("/dev/zero")
    (tmp_path / "file").touch()
    with pytest.raises(ImageError):
        open_target(str(tmp_path)).digest(path)


class _Endless(BaseHTTPRequestHandler):
    """A web server whose files never end."""

    def do_HEAD(self) -> None:
        self.send_response(200)
        self.end_headers()

    def do_GET(self) -> None:
        self.do_HEAD()
        with contextlib.suppress(OSError):
            while True:
                self.wfile.write(bytes(1 << 16))

    def log_message(self, *_: object) -> None:
        pass


def test_a_record_without_end_is_not_read_to_its_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever lists a stranger's catalogue keeps his memory."""
    monkeypatch.setattr(target, "SMALL", 8 << 20)
    with ThreadingHTTPServer(("127.0.0.1", 0), _Endless) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        place = open_target(f"http://127.0.0.1:{server.server_port}/images")
        with pytest.raises(ImageError, match=r"latest\.json is larger than 8 MiB"):
            place.read("x/latest.json")
        server.shutdown()


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/c/x"), "no space left on the disk (free some space"),
        (OSError(errno.ENOSPC, "No space left on device"), "no space left on the disk (free some space"),
        (OSError(errno.EROFS, "Read-only file system", "/c/x"), "the file system is read-only (write elsewhere"),
        (PermissionError(errno.EACCES, "Permission denied", "/c/x"), "Permission denied (is it reachable, and are you"),
        (OSError("Failure"), "Failure (is it reachable"),
    ],
)
def test_a_place_that_takes_no_more_says_why(error: OSError, message: str) -> None:
    with pytest.raises(HostError) as raised, target.failing("/c: cannot write sim/root.raw", writing=True):
        raise error
    assert str(raised.value).startswith(f"/c: cannot write sim/root.raw: {message}")


def test_who_only_reads_is_not_asked_for_the_right_to_write(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(_path: Path) -> None:
        raise PermissionError(errno.EACCES, "Permission denied", "x")

    monkeypatch.setattr(Path, "iterdir", denied)
    with pytest.raises(HostError) as raised:
        verify.verify(str(tmp_path))
    said = f"{tmp_path}: cannot list it: Permission denied (is it reachable, and are you allowed to read it?)"
    assert str(raised.value) == said
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    with pytest.raises(HostError) as raised:
        verify.verify(f"http://127.0.0.1:{port}/images")
    assert str(raised.value).endswith("(is it reachable, and are you allowed to read it?)")
    with pytest.raises(HostError, match="allowed to write there"):
        open_target(f"http://127.0.0.1:{port}/images").write("x", b"")
