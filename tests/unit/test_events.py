"""Stages: what a thread did adds up, whatever is inside what."""

from __future__ import annotations

import threading
import time

import pytest

from roost.events import Stages


def test_a_stage_inside_another_has_its_own_seconds() -> None:
    stages = Stages()
    begin = time.monotonic()
    with stages.stage("outer"):
        with stages.stage("inner"):
            time.sleep(0.05)
            with stages.stage("innermost"):
                time.sleep(0.05)
        with stages.stage("inner"):
            time.sleep(0.05)
        time.sleep(0.05)
    wall = time.monotonic() - begin
    assert sum(stages.seconds.values()) == pytest.approx(wall, abs=0.02)
    assert stages.seconds["inner"] == pytest.approx(0.1, abs=0.04)
    assert stages.seconds["outer"] == pytest.approx(0.05, abs=0.04)


def test_threads_do_not_count_each_other() -> None:
    stages = Stages()

    def other() -> None:
        with stages.stage("other"):
            time.sleep(0.1)

    with stages.stage("main"):
        thread = threading.Thread(target=other)
        thread.start()
        thread.join()
    assert stages.seconds["main"] >= 0.1 and stages.seconds["other"] >= 0.1


def test_a_stage_that_fails_counts_too() -> None:
    stages = Stages()
    with pytest.raises(KeyError), stages.stage("outer"), stages.stage("inner"):
        raise KeyError
    assert set(stages.seconds) == {"outer", "inner"}
    with stages.stage("after"):
        time.sleep(0.03)
    assert stages.seconds["after"] >= 0.03
