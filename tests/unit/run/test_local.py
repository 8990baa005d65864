"""How many guests this machine takes, and for how long."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.boot.verdict import EARLY
from roost.iodisk.collect import Collected
from roost.run import outcomes
from roost.run.local import _unfinished, at_once
from roost.run.model import End
from tests.unit.boot.test_verdict import DONE, INIT, JOB, KERNEL, NOT_RUN, OFF, recorded

GiB = 1 << 30


@pytest.mark.parametrize(
    ("wanted", "each", "available", "guests"),
    [(2, GiB, 16 * GiB, 2), (8, GiB, 4 * GiB, 3), (8, 4 * GiB, 2 * GiB, 1), (4, GiB, 0, 1), (1, GiB, 64 * GiB, 1)],
)
def test_memory_bounds_the_guests(wanted: int, each: int, available: int, guests: int) -> None:
    assert at_once(wanted, each, available) == guests


@pytest.mark.parametrize(
    ("console", "why"),
    [
        (JOB, EARLY),
        (KERNEL + INIT, EARLY),
        (DONE, ""),
        (NOT_RUN, "there is no disk with label io"),
        # Its system has another console.
        (KERNEL, ""),
        ("", ""),
    ],
)
def test_a_machine_that_went_off_too_early_is_told_of(console: str, why: str) -> None:
    assert _unfinished(recorded(console, events=OFF)) == why


def test_the_verdict_of_a_job_that_powers_the_machine_off_says_so() -> None:
    disk = Collected("io.raw", "killed", "it started and did not report its end", {}, Path("out"))
    end = End("a", Path("io.raw"), reason=_unfinished(recorded(JOB, events=OFF)))
    assert outcomes.judge(end, disk) == ("killed", f"{disk.why}; {EARLY}")
