"""From the word of an executor and the disk that came back to a verdict."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.iodisk.collect import Collected
from roost.iodisk.status import Verdict
from roost.run import outcomes
from roost.run.model import End, Job, Outcome
from roost.run.place import Place


def disk(verdict: Verdict, why: str, lost: tuple[str, ...] = ()) -> Collected:
    return Collected("io.raw", verdict, why, {}, Path("out"), lost=lost)


BACK = End("a", Path("io.raw"))


@pytest.mark.parametrize(
    ("end", "collected", "verdict", "reason"),
    [
        (BACK, disk("done", "exit code 0"), "done", "exit code 0"),
        (BACK, disk("failed", "exit code 3"), "failed", "exit code 3"),
        (BACK, disk("done", "exit code 0", ("output/x: cut",)), "unreadable", "not all of its output was extracted"),
        (End("a", None), None, "never started", "no disk came back"),
        (End("a", None, verdict="held", reason="no such file"), None, "held", "no such file"),
        (End("a", None, verdict="killed", reason="removed"), None, "killed", "removed"),
        # A machine that stays on is one that HTCondor never ends.
        (End("a", Path("x"), stopped=True, reason="too long"), disk("done", "exit code 0"), "killed", "too long"),
        (End("a", Path("x"), stopped=True, reason="too long"), disk("failed", "exit code 3"), "failed", "too long"),
        (
            End("a", Path("x"), stopped=True, reason="panic"),
            disk("never started", "no status"),
            "never started",
            "panic",
        ),
        (End("a", Path("x"), stopped=True, reason="too long"), disk("killed", "it started"), "killed", "too long"),
        (End("a", Path("x"), verdict="held", reason="why"), disk("done", "exit code 0"), "held", "why"),
    ],
)
def test_the_disk_judges(end: End, collected: Collected | None, verdict: str, reason: str) -> None:
    found, why = outcomes.judge(end, collected)
    assert found == verdict
    assert reason in why


def test_an_outcome_survives_being_written_down(tmp_path: Path) -> None:
    place = Place(tmp_path)
    job = Job("a", "sim")
    before = Outcome(
        "a", "failed", 3, "exit code 3", place.result("a"), 1.5, "sim", place.log("a"), ("a note",), 2, {"cluster": 7}
    )
    said = outcomes.to_record(before, place)
    assert str(tmp_path) not in str(said)  # the directory may be moved
    assert outcomes.from_record(job, said, place) == before
    wrong = {"verdict": "fine", "seconds": "soon", "attempts": -1, "notes": 5, "output": "a\0b", "more": []}
    for key, value in wrong.items():
        with pytest.raises(ValueError, match=f"{key}: "):
            outcomes.from_record(job, {**said, key: value}, place)


def test_an_end_survives_being_written_down(tmp_path: Path) -> None:
    place = Place(tmp_path)
    for end in (
        End("a", place.returned / "a.raw", 2.0, None, "too long", stopped=True),
        End("a", None, None, "held", "no such file", more={"cluster": 7}),
        End("a", Path("/elsewhere/a.raw")),
    ):
        said = outcomes.end_to_record(end, place)
        assert outcomes.end_from_record("a", said, place) == end
        for key, value in {"disk": 5, "verdict": "x", "more": 3, "stopped": "no", "seconds": "q"}.items():
            with pytest.raises(ValueError, match=f"{key}: "):
                outcomes.end_from_record("a", {**said, key: value}, place)
