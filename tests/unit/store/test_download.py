"""Downloads against a server on loopback that breaks off, forgets Range, changes the file, lies, or never answers."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from roost.errors import HostError, Location, RecipeError
from roost.events import Silent
from roost.host import namespace
from roost.store import download, http
from roost.store.cache import Cache

CONTENT = bytes(range(256)) * 4096  # 1 MiB
SUM = hashlib.sha256(CONTENT).hexdigest()
WHERE = Location("recipes/a.yaml", 3, 5)


@dataclass
class Behaviour:
    """What the server does, and what it was asked."""

    content: bytes = CONTENT
    etag: str | None = '"one"'
    ranges: bool = True
    #: Break off after so many bytes of the body, once for each entry.
    breaks: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    redirect: str | None = None
    length: bool = True
    pause: float = 0.0
    silence: float = 0.0
    shift: int = 0
    asked: list[dict[str, str]] = field(default_factory=list)


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_GET(self) -> None:
        does = self.server.does
        does.asked.append({"path": self.path, **{key.lower(): value for key, value in self.headers.items()}})
        time.sleep(does.silence)
        if does.statuses:
            self._plain(does.statuses.pop(0))
            return
        if does.redirect is not None and self.path == "/from":
            self.send_response(302)
            self.send_header("Location", does.redirect)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        start = 0
        asked = self.headers.get("Range")
        if asked and does.ranges and self.headers.get("If-Range") in {None, does.etag}:
            start = int(asked.removeprefix("bytes=").removesuffix("-"))
            if start >= len(does.content):
                self.send_response(416)
                self.send_header("Content-Range", f"bytes */{len(does.content)}")
                self.send_header("Content-Length", "0")
                self.end_headers()
                return
            start -= does.shift
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(does.content) - 1}/{len(does.content)}")
        else:
            self.send_response(200)
        body = does.content[start:]
        if does.etag:
            self.send_header("ETag", does.etag)
        if does.length:
            self.send_header("Content-Length", str(len(body)))
        else:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        self._body(body, does)

    def _body(self, body: bytes, does: Behaviour) -> None:
        end = does.breaks.pop(0) if does.breaks else None
        sent = body if end is None else body[:end]
        step = 65536
        for index in range(0, len(sent), step):
            part = sent[index : index + step]
            self.wfile.write(part if does.length else b"%x\r\n%s\r\n" % (len(part), part))
            if does.pause:
                time.sleep(does.pause)
        if end is not None:
            self.close_connection = True
        elif not does.length:
            self.wfile.write(b"0\r\n\r\n")

    def _plain(self, status: int) -> None:
        self.send_response(status)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.does = Behaviour()

    def handle_error(self, request: object, client_address: object) -> None:
        pass

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/disk.raw"


def serving() -> Iterator[Server]:
    server = Server()
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr(download, "PAUSES", (0.01, 0.01))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    yield from serving()


other = pytest.fixture(serving)


@pytest.fixture
def cache(tmp_path: Path) -> Cache:
    return Cache(tmp_path / "cache")


class Recorder(Silent):
    def __init__(self) -> None:
        self.said: list[str] = []
        self.steps: list[tuple[float, float]] = []

    def begin(self, name: str, detail: str) -> None:
        self.said.append(f"{name} {detail}")

    def note(self, text: str) -> None:
        self.said.append(text)

    def progress(self, name: str, done: float, total: float) -> None:
        self.steps.append((done, total))


def fetch(server: Server, cache: Cache, sha256: str = SUM, url: str | None = None) -> Path:
    return download.fetch(url or server.url, sha256, cache, Silent(), where=WHERE)


def left(cache: Cache) -> list[str]:
    """Return what is kept of downloads, without locks."""
    directory = cache.root / download.STAGE
    return sorted(path.name for path in directory.iterdir() if path.suffix != ".lock") if directory.is_dir() else []


def test_a_file_is_fetched_once_with_progress_and_cannot_be_changed(server: Server, cache: Cache) -> None:
    events = Recorder()
    path = download.fetch(server.url, SUM, cache, events)
    assert path.read_bytes() == CONTENT and path.stat().st_mode & 0o777 == 0o444
    assert events.said == [f"download {server.url}"] and events.steps[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(server, cache) == path
    assert len(server.does.asked) == 1 and left(cache) == [SUM]


def test_a_connection_that_breaks_is_taken_up_where_it_ended(server: Server, cache: Cache) -> None:
    server.does.breaks = [300_000, 200_000]
    assert fetch(server, cache).read_bytes() == CONTENT
    assert [asked.get("range") for asked in server.does.asked] == [None, "bytes=300000-", "bytes=500000-"]
    assert [asked.get("if-range") for asked in server.does.asked] == [None, '"one"', '"one"']


def test_a_chunked_answer_that_breaks_is_seen_to_break(server: Server, cache: Cache) -> None:
    server.does.length = False
    server.does.breaks = [300_000]
    assert fetch(server, cache).read_bytes() == CONTENT
    assert len(server.does.asked) == 2


def test_what_always_breaks_is_given_up_and_resumed_by_the_next_call(server: Server, cache: Cache) -> None:
    server.does.breaks = [100_000, 0, 0, 0]
    with pytest.raises(HostError, match="the connection ended after 100000 of 1048576 bytes") as raised:
        fetch(server, cache)
    assert raised.value.problem.where == WHERE and "the next attempt resumes it" in str(raised.value)
    server.does.breaks = []
    server.does.asked.clear()
    assert fetch(server, cache).read_bytes() == CONTENT
    assert [asked.get("range") for asked in server.does.asked] == ["bytes=100000-"]


def test_killed_in_the_middle_and_resumed(server: Server, cache: Cache) -> None:
    server.does.pause = 0.05
    code = (
        "import sys; from pathlib import Path; from roost.store.cache import Cache; from roost.events import Silent\n"
        "from roost.store import download\n"
        "download.fetch(sys.argv[1], sys.argv[2], Cache(Path(sys.argv[3])), Silent())"
    )
    child = subprocess.Popen([sys.executable, "-c", code, server.url, SUM, str(cache.root)])
    part = cache.root / download.STAGE / f".{SUM}.part"
    ends = time.monotonic() + 20
    while not (part.exists() and part.stat().st_size > 200_000) and time.monotonic() < ends:
        time.sleep(0.01)
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    size = part.stat().st_size
    assert 200_000 < size < len(CONTENT)
    server.does.pause = 0.0
    server.does.asked.clear()
    assert fetch(server, cache).read_bytes() == CONTENT
    assert [asked["range"] for asked in server.does.asked] == [f"bytes={size}-"]
    assert left(cache) == [SUM]


def test_two_at_once_fetch_one_file_once(server: Server, cache: Cache) -> None:
    server.does.pause = 0.02
    paths: list[Path] = []
    threads = [threading.Thread(target=lambda: paths.append(fetch(server, cache))) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(paths) == 3 and len(set(paths)) == 1 and len(server.does.asked) == 1


def test_a_server_without_ranges_begins_again(server: Server, cache: Cache) -> None:
    server.does.ranges = False
    server.does.breaks = [300_000]
    assert fetch(server, cache).read_bytes() == CONTENT


def test_a_server_that_always_breaks_and_never_resumes_is_given_up(server: Server, cache: Cache) -> None:
    server.does.ranges = False
    server.does.breaks = [300_000] * 50
    with pytest.raises(HostError, match="the connection ended"):
        fetch(server, cache)
    assert len(server.does.asked) == 3


def test_a_file_that_changes_between_two_answers_is_begun_again(server: Server, cache: Cache) -> None:
    server.does.breaks = [300_000]
    server.does.content = b"old" * 400_000
    server.does.etag = '"old"'
    # The first answer is of the old file; before the second it has changed.
    begin = Handler._body

    def changing(self: Handler, body: bytes, does: Behaviour) -> None:
        begin(self, body, does)
        does.content, does.etag = CONTENT, '"new"'

    Handler._body = changing  # type: ignore[method-assign]
    try:
        assert fetch(server, cache).read_bytes() == CONTENT
    finally:
        Handler._body = begin  # type: ignore[method-assign]


def test_a_change_that_the_server_does_not_tell_is_found_by_the_sum(server: Server, cache: Cache) -> None:
    part = cache.root / download.STAGE / f".{SUM}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes(b"other" * 1000)
    server.does.etag = None
    assert fetch(server, cache).read_bytes() == CONTENT
    assert [asked.get("range") for asked in server.does.asked] == ["bytes=5000-", None]


@pytest.mark.parametrize("size", [len(CONTENT), len(CONTENT) + 5])
def test_what_had_come_whole_is_not_fetched_again(server: Server, cache: Cache, size: int) -> None:
    part = cache.root / download.STAGE / f".{SUM}.part"
    part.parent.mkdir(parents=True)
    part.write_bytes((CONTENT + b"extra")[:size])
    assert fetch(server, cache).read_bytes() == CONTENT
    assert len(server.does.asked) == (1 if size == len(CONTENT) else 2)


def test_a_server_that_sends_another_part_is_not_believed(server: Server, cache: Cache) -> None:
    server.does.breaks = [300_000]
    server.does.shift = 7
    assert fetch(server, cache).read_bytes() == CONTENT


def test_another_sum_is_refused_with_both_and_nothing_is_kept(server: Server, cache: Cache) -> None:
    wanted = "0" * 64
    with pytest.raises(RecipeError) as raised:
        fetch(server, cache, wanted)
    (problem,) = raised.value.problems
    assert problem.where == WHERE and SUM in problem.what and wanted in problem.what
    assert left(cache) == []


def test_statuses(server: Server, cache: Cache) -> None:
    server.does.statuses = [503, 429]
    assert fetch(server, cache).read_bytes() == CONTENT
    for status in (404, 403, 401, 410):
        server.does.statuses = [status]
        with pytest.raises(RecipeError, match=f"the server answers {status}") as raised:
            fetch(server, cache, "1" * 64)
        assert raised.value.problems[0].where == WHERE
    server.does.statuses = [500] * 9
    with pytest.raises(HostError, match="the server answers 500"):
        fetch(server, cache, "1" * 64)
    assert left(cache) == [SUM]


def test_nobody_listens(server: Server, cache: Cache) -> None:
    with pytest.raises(HostError, match="Connection refused"):
        download.fetch("http://127.0.0.1:1/disk", SUM, cache, Silent())


def test_a_server_that_falls_silent_is_given_up(server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http, "STALLED", 0.2)
    server.does.silence = 0.5
    with pytest.raises(HostError, match=r"no answer within 0\.2 s"):
        fetch(server, cache)


def test_the_whole_has_a_deadline(server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "DEADLINE", 0.3)
    server.does.pause = 0.1
    with pytest.raises(HostError, match="it takes more than"):
        fetch(server, cache)


def test_no_password_and_no_signature_is_shown(server: Server, other: Server, cache: Cache) -> None:
    events = Recorder()
    server.does.redirect = other.url
    url = f"http://ann:s%40cret@127.0.0.1:{server.server_port}/from?signature=hidden"
    server.does.statuses = [404]
    with pytest.raises(RecipeError) as raised:
        download.fetch(url, SUM, cache, events)
    server.does.redirect = other.url
    with pytest.raises(RecipeError) as wrong:
        download.fetch(url.replace("/from?", "/disk.raw?"), "2" * 64, cache, events)
    told = [*events.said, str(raised.value), str(wrong.value), repr(raised.value), repr(wrong.value)]
    for text in told:
        assert "cret" not in text and "ann" not in text and "hidden" not in text
    assert server.does.asked[0]["authorization"] == "Basic YW5uOnNAY3JldA=="


def test_the_password_stays_with_its_server(server: Server, other: Server, cache: Cache) -> None:
    server.does.redirect = other.url
    url = f"http://ann:secret@127.0.0.1:{server.server_port}/from"
    assert fetch(server, cache, url=url).read_bytes() == CONTENT
    assert "authorization" in server.does.asked[0] and "authorization" not in other.does.asked[0]


def test_a_redirect_leads_to_http_only(server: Server, cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(CONTENT)
    url = f"http://127.0.0.1:{server.server_port}/from"
    for target in (f"file://{tmp_path}/secret", "ftp://127.0.0.1/x", "http://ann:secret@:x/"):
        server.does.redirect = target
        with pytest.raises((RecipeError, HostError)) as raised:
            fetch(server, cache, url=url)
        assert "secret" not in str(raised.value)


def test_a_proxy_of_the_environment_is_used(server: Server, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", server.url.removesuffix("disk.raw"))
    monkeypatch.setenv("no_proxy", "")
    url = "http://images.invalid/disk.raw"
    assert fetch(server, cache, url=url).read_bytes() == CONTENT
    assert server.does.asked[0]["path"] == url
    monkeypatch.setenv("http_proxy", "socks9://127.0.0.1:1")
    with pytest.raises(HostError, match=r"cannot fetch http://images\.invalid"):
        fetch(server, cache, "3" * 64, url=url)


def test_files_of_this_machine(cache: Cache, tmp_path: Path) -> None:
    (tmp_path / "a disk").write_bytes(CONTENT)
    url = f"file://{tmp_path}/a%20disk"
    path = download.fetch(url, SUM, cache, Silent())
    assert path.read_bytes() == CONTENT and path != tmp_path / "a disk"
    with pytest.raises(RecipeError, match="has sha256"):
        download.fetch(url, "4" * 64, cache, Silent(), where=WHERE)
    for name in ("absent", "", "a%00b"):
        with pytest.raises(RecipeError, match="no such file"):
            download.fetch(f"file://{tmp_path}/{name}", "4" * 64, cache, Silent())
    assert left(cache) == [SUM]


@pytest.mark.parametrize(
    "url",
    [
        "", "disk.raw", "ftp://host/disk", "file:disk", "file://host/disk", "http://", "http:///disk", "http://h:99999/",
        "http://host/a b", "http://host/\n", "http://[::1/", "http://höst/", "javascript:1", "http://:80/",
    ],
)  # fmt: skip
def test_what_is_not_a_url(cache: Cache, url: str) -> None:
    with pytest.raises(RecipeError) as raised:
        download.fetch(url, SUM, cache, Silent(), where=WHERE)
    assert raised.value.problems[0].where == WHERE and not cache.root.exists()


def test_old_remains_are_forgotten(server: Server, cache: Cache) -> None:
    directory = cache.root / download.STAGE
    directory.mkdir(parents=True)
    for name, age in (("a", download.FORGOTTEN + 60), ("b", 60)):
        (directory / f".{name}.part").write_bytes(b"x")
        (directory / f".{name}.version").write_bytes(b"x")
        os.utime(directory / f".{name}.part", (time.time() - age,) * 2)
    fetch(server, cache)
    assert left(cache) == [".b.part", ".b.version", SUM]


@pytest.mark.parametrize("length", [True, False])
def test_a_full_disk(server: Server, tmp_path: Path, length: bool) -> None:
    # A file system of half the size, in a namespace where anybody may mount one.
    server.does.length = length
    code = (
        "import sys; from pathlib import Path; from roost.store.cache import Cache; from roost.events import Silent\n"
        "from roost.store import download; from roost.errors import RoostError\n"
        "root = Path(sys.argv[3])\n"
        "try: download.fetch(sys.argv[1], sys.argv[2], Cache(root), Silent())\n"
        "except RoostError as error: print(error.exit_code, error)\n"
        "print([path.name for path in root.rglob('*') if path.is_file() and path.suffix != '.lock'])"
    )
    script = 'mount -t tmpfs -o size=512k roost "$1" && shift && exec "$@"'
    mount = tmp_path / "small"
    mount.mkdir()
    argv: list[str | Path] = ["sh", "-c", script, "sh", mount, sys.executable, "-c", code, server.url, SUM, mount]
    done = subprocess.run(namespace.current().argv(argv), capture_output=True, text=True, timeout=60, check=True)
    said, kept = done.stdout.splitlines()
    assert said.startswith("3 no space left on the disk of") and "ROOST_CACHE" in said
    assert kept == "[]"
    assert len(server.does.asked) == 1


@pytest.mark.parametrize(
    "place",
    [
        "http://[::1/x",
        "http://127.0.0.1:99999999/x",
        "http://127.0.0.1:abc/",
        f"http://{'a' * 300}/",
        "http://127.0.0.1/\x7f",
    ],
)
def test_a_redirect_to_what_is_not_a_url_is_reported(
    server: Server, cache: Cache, place: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(download, "PAUSES", ())
    server.does.redirect = place
    with pytest.raises((RecipeError, HostError)) as caught:
        fetch(server, cache, url=f"http://127.0.0.1:{server.server_port}/from")
    assert str(caught.value).startswith("recipes/a.yaml:3:5: ")


@pytest.mark.parametrize("damage", ["changed", "cut", "gone", "link"])
def test_what_was_damaged_in_the_cache_is_fetched_anew(damage: str, server: Server, cache: Cache) -> None:
    """A disk that lost a block, a person who edited it: nobody has to remove it by hand."""
    path = fetch(server, cache)
    path.chmod(0o644)
    if damage == "changed":
        path.write_bytes(CONTENT[:-1] + b"?")
    elif damage == "cut":
        path.write_bytes(CONTENT[:10])
    else:
        path.unlink()
    if damage == "link":
        path.symlink_to("/dev/zero")
    events = Recorder()
    again = download.fetch(server.url, SUM, cache, events, where=WHERE)
    assert again == path and path.read_bytes() == CONTENT and path.stat().st_mode & 0o777 == 0o444
    assert left(cache) == [SUM] and any("is damaged: it is downloaded again" in one for one in events.said)
