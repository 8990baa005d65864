"""What a terminal is shown: nothing drawn over where it cannot be, no colour where none is wanted, sizes in words."""

from __future__ import annotations

import io
import os
import pty
import re
import sys
import threading
import time
from collections.abc import Callable

import pytest

from roost.cli import terminal
from roost.errors import ImageError
from roost.events import Events


def drawn(monkeypatch: pytest.MonkeyPatch, say: Callable[[Events], None], columns: int, **environment: str) -> str:
    """Return what `say` has the live lines and an error show on a terminal of so many columns."""
    for name in ("CI", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in {"TERM": "xterm-256color", "COLUMNS": str(columns), **environment}.items():
        monkeypatch.setenv(name, value)
    near, far = pty.openpty()
    held = bytearray()

    def read() -> None:
        while True:
            try:
                data = os.read(near, 65536)
            except OSError:
                return
            if not data:
                return
            held.extend(data)

    reader = threading.Thread(target=read)
    reader.start()
    with os.fdopen(far, "w") as stream:
        monkeypatch.setattr(sys, "stderr", stream)
        with terminal.events() as events:
            say(events)
        terminal.write_error(ImageError("the image is wrong"))
        monkeypatch.undo()
    reader.join(10)
    os.close(near)
    return held.decode()


def on_a_terminal(monkeypatch: pytest.MonkeyPatch, columns: int, **environment: str) -> str:
    """Return what a task with a long name, a download and an error writes to a terminal of so many columns."""

    def say(events: Events) -> None:
        events.begin("download", "linux-image-6.1.0-37-cloud-amd64_6.1.140-1_amd64.deb of the archive of Debian 12")
        events.progress("download", 10 << 20, 80 << 20)
        time.sleep(0.3)
        events.note("a note")
        events.end("download", 1.0, True)

    return drawn(monkeypatch, say, columns, **environment)


@pytest.mark.parametrize("columns", [60, 120])
def test_a_download_says_its_bytes_within_the_columns(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(monkeypatch, columns)
    assert "10.0 of 80.0 MiB" in shown
    lines = [line for line in shown.replace("\r", "\n").split("\n") if "MiB" in line]
    assert lines
    assert all(len(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line)) <= columns for line in lines)
    assert "\x1b[31mthe image is wrong" in shown


def test_no_colour_means_none_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(monkeypatch, 100, NO_COLOR="1")
    assert "the image is wrong" in shown
    for code in ("[3", "[9", "[38;", "[4"):
        assert f"\x1b{code}" not in shown.replace("\x1b[4A", ""), code


@pytest.mark.parametrize("environment", [{"TERM": "dumb"}, {"TERM": ""}, {"CI": "true"}])
def test_what_cannot_be_drawn_on_gets_lines(environment: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    shown = on_a_terminal(monkeypatch, 100, **environment)
    assert "\x1b" not in shown
    assert shown.splitlines() == [
        "roost: download (linux-image-6.1.0-37-cloud-amd64_6.1.140-1_amd64.deb of the archive of Debian 12) ...",
        "roost: note: a note",
        "roost: download: done after 1.0 s",
        "the image is wrong",
    ]


def test_the_rate_and_what_is_left_are_said_once_they_mean_something() -> None:
    assert terminal.transferred(1 << 20, 0, 0.1) == "1.0 MiB"
    assert terminal.transferred(10 << 20, 80 << 20, 0.5) == "10.0 of 80.0 MiB"
    assert terminal.transferred(10 << 20, 80 << 20, 2.0) == "10.0 of 80.0 MiB, 5.0 MiB/s, 14 s left"
    assert terminal.transferred(80 << 20, 80 << 20, 8.0) == "80.0 of 80.0 MiB, 10.0 MiB/s"


@pytest.mark.parametrize(
    ("expected", "seconds", "said"),
    [
        (0, 0, ""),
        (4, 1, ""),
        (60, 31, "about 30 s left"),
        (60, 0.4, "about 60 s left"),
        (20, 4, "about 15 s left"),
        (10, 6.6, "about 3 s left"),
        (300, 10, "about 5 min left"),
        (10, 9.5, ""),
        (10, 60, ""),
    ],
)
def test_the_time_left_is_said_only_when_it_is_known(expected: float, seconds: float, said: str) -> None:
    assert terminal.left(expected, seconds) == said


@pytest.mark.parametrize("columns", [60, 120])
def test_where_a_stage_is_and_its_time_left_fit_the_columns(columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def say(events: Events) -> None:
        events.expect({"boot": 40.0})
        events.begin("boot", "pc, tcg")
        events.doing(
            "boot", "init: [  OK  ] Reached target \x1b[31mMulti-User\x1b[0m System, and much more than fits " * 3
        )
        time.sleep(0.3)
        events.end("boot", 1.0, True)

    shown = drawn(monkeypatch, say, columns)
    lines = [re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", line) for line in shown.replace("\r", "\n").split("\n")]
    (line, *_) = [line for line in lines if "boot: init: [  OK  ]" in line and "left" in line]
    assert "about 40 s left" in line
    assert all(len(line) <= columns for line in lines)
    assert "\x1b[31mMulti" not in shown


def test_a_log_gets_a_line_a_minute_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("roost.cli.terminal.time.monotonic", lambda: now[0])
    events = terminal.PlainEvents(stream := io.StringIO())
    events.begin("download", "x")
    for second in range(0, 130, 10):
        now[0] = float(second)
        events.progress("download", second << 20, 200 << 20)
        events.doing("other", "never begun")
    events.end("download", 130.0, True)
    events.doing("download", "over")
    assert stream.getvalue().splitlines()[1:-1] == [
        "roost: download: 60.0 of 200.0 MiB, 1.0 MiB/s, 140 s left",
        "roost: download: 120.0 of 200.0 MiB, 1.0 MiB/s, 80 s left",
    ]
