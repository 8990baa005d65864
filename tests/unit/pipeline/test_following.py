"""How far an installation is, from a log that grows."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.events import Silent
from roost.pipeline import following
from roost.pipeline.following import Seen

GET = b"Get:%d http://deb.debian.org/debian bookworm/main amd64 libbsd0 amd64 0.11.7-2 [%s]\n"


@pytest.mark.parametrize(
    ("log", "said"),
    [
        (b"", ""),
        (b"Reading package lists...\n", ""),
        (GET % (1, b"1,048.576 kB") + GET % (2, b"0 B"), "2 packages fetched, 1.0 MiB"),
        (GET % (1, b"2 MB") + b"Unpacking libc6:amd64 (2.36) ...\n", "1 of 3 packages unpacked"),
        (b"Unpacking a (1) ...\n" * 5, "3 of 3 packages unpacked"),
        (b"Unpacking a (1) ...\nSetting up a (1) ...\nSetting up b (1) ...\n", "2 of 3 packages configured"),
        (b"Unpacking a (1) ...\nI: roost: 2 packages are there\nUnpacking b (1) ...\n", "2 of 3 packages configured"),
        (b"I: roost: 1 packages are there\nUnpacking b (1) ...\nSetting up b (1) ...\n", "2 of 3 packages configured"),
        (b"x Unpacking a\n Setting up b\nGet:1 [1 kB] x\n", ""),
    ],
)
def test_the_tools_lines_are_counted(log: bytes, said: str) -> None:
    seen = Seen()
    seen.take(log)
    assert seen.words(3) == said


@given(st.binary(max_size=300))
def test_any_log_is_taken(log: bytes) -> None:
    seen = Seen()
    seen.take(log)
    seen.words(0)


class Told(Silent):
    def __init__(self) -> None:
        self.lines: list[str] = []
        self.steps: list[tuple[float, float]] = []

    def doing(self, name: str, text: str) -> None:
        assert name == "bootstrap"
        self.lines.append(text)

    def progress(self, name: str, done: float, total: float) -> None:
        self.steps.append((done, total))


def test_a_log_that_grows_is_followed_from_where_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "EVERY", 0.01)
    log, told = tmp_path / "x.log", Told()
    log.write_bytes(b"Setting up old (1) ...\n" * 9)

    def until(count: int) -> None:
        ends = time.monotonic() + 20
        while len(told.lines) < count and time.monotonic() < ends:
            time.sleep(0.01)

    with following.installation(log, 4, told), log.open("ab", buffering=0) as file:
        file.write(b"Unpacking a (1) ...\nUnpacking b")
        until(1)
        file.write(b" (1) ...\nSetting up a (1) ...\n")
        until(2)
    assert told.lines == ["1 of 4 packages unpacked", "1 of 4 packages configured"]
    assert told.steps == [(1, 8), (3, 8)]


def test_a_log_that_never_comes_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(following, "EVERY", 0.01)
    with pytest.raises(ValueError, match="own"), following.installation(tmp_path / "none.log", 4, told := Told()):
        time.sleep(0.1)
        raise ValueError("own")
    assert told.lines == []
