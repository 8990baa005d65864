"""An image comes out the same in other surroundings, and every second of its build belongs to a stage."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from roost.events import Silent
from roost.pipeline import build
from tests.images.calls import roost

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]


class Timed(Silent):
    """A sink that keeps from when to when stages ran."""

    def __init__(self) -> None:
        self.spans: list[tuple[float, float]] = []

    def end(self, name: str, seconds: float, ok: bool) -> None:
        now = time.monotonic()
        self.spans.append((now - seconds, now))

    def gap(self, begin: float, end: float) -> float:
        """Return the seconds between two times in which no stage ran."""
        idle, at = 0.0, begin
        for start, stop in sorted(self.spans):
            idle += max(0.0, start - at)
            at = max(at, stop)
        return idle + max(0.0, end - at)


def test_every_second_of_a_build_belongs_to_a_stage(smoke: Path) -> None:
    events = Timed()
    begin = time.monotonic()
    built = build.build("smoke", events=events, force=True)
    end = time.monotonic()
    assert events.gap(begin, end) < max(1.0, 0.1 * (end - begin)), built.seconds
    assert {"plan", "appliance", "read back", "record"} <= built.seconds.keys()


@pytest.mark.slow
def test_an_image_comes_out_the_same_elsewhere(tmp_path: Path) -> None:
    ran = roost("repro", "smoke", "--keep", str(tmp_path / "kept"), "--json")
    assert ran.code == 0, ran.out + ran.err
    answer = ran.answer
    assert answer["identical"] is True
    assert {"root.qcow2", "io.raw", "kvm.sub"} <= {file["name"] for file in answer["files"]}
    one, other = answer["builds"]
    assert one["umask"] != other["umask"] and one["timezone"] != other["timezone"]
    assert (one["directory"], answer["note"] == "") != (other["directory"], one["user"] == other["user"])
    assert (tmp_path / "kept/one/root.qcow2").is_file() and (tmp_path / "kept/other/root.qcow2").is_file()
