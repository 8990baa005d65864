"""What a guest waited for while it came up, from the lines that systemd writes and from silence."""

from __future__ import annotations

import pytest

from roost.boot import waits
from roost.boot.console import Console
from roost.boot.verdict import judge
from roost.boot.waits import Wait
from tests.unit.boot.test_verdict import INIT, KERNEL, recorded

RUNNING = (
    "\x1b[K[ \x1b[0;31m*\x1b[0;1;31m*\x1b[0m\x1b[0;31m*  \x1b[0m] A start job is running for"
    " networking.service - Raise network interfaces ({} / 5min 3s)\r"
)


def _console(text: str, seconds: float = 1.0) -> Console:
    console = Console()
    for number, line in enumerate(text.splitlines(keepends=True)):
        console.feed(line.encode(), 2.0 + number * seconds)
    return console


def test_the_unit_that_init_waited_for() -> None:
    console = _console(KERNEL + INIT + "".join(RUNNING.format(time) for time in ("6s", "59s", "1min 30s", "5min 1s")))
    assert console.waits.longest() == (Wait("networking.service - Raise network interfaces", 301.0),)
    (note,) = waits.slow(console.waits.longest(), None, 356.0, 60.0)
    assert "356 s" in note
    assert "301 s for networking.service - Raise network interfaces" in note


@pytest.mark.parametrize(
    ("line", "wait"),
    [
        (
            "[  *** ] (2 of 3) A start job is running for Wait for Network (31s / no limit)",
            Wait("Wait for Network", 31.0),
        ),
        ("[ ***  ] Job a-b.service/start running (1h 2min 3s / 2h)", Wait("a-b.service", 3723.0)),
        (
            "[***   ] A start job is running for /dev/disk/by-uuid/1 (1min 12s / 1min 30s)",
            Wait("/dev/disk/by-uuid/1", 72),
        ),
        ("[*     ] A stop job is running for User (5s / 1min)", Wait("the end of User", 5.0)),
        ("[*     ] A start job is running for (6s)", None),
        ("A start job is running for x (99999999999999999999s)", Wait("x", 999999999.0)),
        ("A start job is running for x (soon)", None),
    ],
)
def test_forms_of_the_line(line: str, wait: Wait | None) -> None:
    assert _console(f"{line}\n").waits.longest() == ((wait,) if wait else ())


def test_a_console_cannot_make_it_keep_much() -> None:
    console = _console("".join(f"A start job is running for {'x' * 3000}{n} ({n}s / 1min)\n" for n in range(500)))
    assert len(console.waits.units) <= 64
    assert all(len(what) <= 200 for what in console.waits.units)


def test_a_silence_is_what_another_init_shows() -> None:
    console = _console(KERNEL + INIT)
    console.feed(b"Configuring network interfaces...\n", 10.0)
    console.feed(b"roost: job started\n", 210.0)
    console.feed(b"roost: job finished: exit 0\n", 900.0)
    assert console.waits.silence == Wait("Configuring network interfaces...", 200.0)
    (note,) = waits.slow((), console.waits.silence, 205.0, 60.0)
    assert "200 s after 'Configuring network interfaces...'" in note


def test_an_init_in_time_gets_no_note() -> None:
    assert waits.slow((Wait("x", 20.0),), None, 40.0, 60.0) == ()


def test_a_guest_that_never_came_to_its_job_says_what_it_waited_for() -> None:
    stuck = recorded(KERNEL + INIT, stop="timeout", waits=(Wait("dev-vdc.device", 88.0),))
    assert "88 s for dev-vdc.device" in judge(stuck).detail
