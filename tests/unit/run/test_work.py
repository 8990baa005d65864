"""The work of a run: what it says of its jobs while they run."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from roost.events import Silent, Stages
from roost.run import outcomes
from roost.run.model import End, Job, Outcome, Run, Told
from roost.run.place import Place
from roost.run.plan import Plan
from roost.run.state import State
from roost.run.work import Contents, Work
from tests.unit.run.test_description import image


@dataclass
class Lines(Silent):
    """A sink that keeps what is being done."""

    lines: list[str] = field(default_factory=list)

    def doing(self, name: str, text: str) -> None:
        self.lines.append(f"{name}: {text}")


class OneAtATime:
    """An executor with one guest."""

    name = "local"

    def describe(self) -> dict[str, object]:
        return {}

    def run(self, _run: Run, jobs: Sequence[Job], told: Told) -> None:
        for job in jobs:
            told.started(job)
            told.ended(End(job.name, None, 1.0, None))


def test_a_job_whose_machine_has_ended_is_not_one_that_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its disk is read while the next guest runs: one guest has one name."""
    place = Place(tmp_path / "run")
    place.make()
    sink, last = Lines(), threading.Event()

    def slow(job: Job, _end: End, _place: Place, _attempts: int) -> Outcome:
        # No disk has been read before the last job is started.
        assert last.wait(30)
        return Outcome(job.name, "done", 0, "")

    monkeypatch.setattr(outcomes, "outcome", slow)
    with contextlib.closing(State(place.state)) as state:
        one = image(place.directory, "io\na.raw\nb.raw\nc.raw\n")
        run = Run({"smoke": one}, place, state, sink)
        plan = Plan(one.table, "smoke", place.directory, "local", "io")
        work = Work(run, tuple(one.jobs), "local", Contents(plan), Stages(sink))
        done = threading.Thread(target=work.execute, args=(OneAtATime(), work.begin()))
        done.start()
        while done.is_alive() and len(sink.lines) < 3:
            done.join(0.01)
        last.set()
        done.join(30)
    assert [line.partition("running: ")[2] for line in sink.lines[:3]] == ["a", "b", "c"]
    assert sink.lines[-1] == "jobs: 3 of 3 ended"
