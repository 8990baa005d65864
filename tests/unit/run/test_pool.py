"""The pool's executor against an HTCondor of a few scripts: what it tells, what it asks, what it never does twice."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from roost.errors import ImageError, ToolError
from roost.events import Silent
from roost.run import pool, submission
from roost.run.model import End, Job, Run
from roost.run.place import Place
from roost.run.pool import Pool
from roost.run.state import State
from roost.store.manifest import Manifest
from tests.unit.run.test_description import built, image
from tests.unit.run.test_submission import Schedd, schedd

__all__ = ["schedd"]

TABLE = "io\ndisks/a.raw\ndisks/b.raw\ndisks/c.raw\n"
HEAD = "{number} (007.{job:03d}.000) 2026-11-26 17:00:{second:02d} Something.\n{more}...\n"
HOLD = "\tTransfer input files failure: reading from file /x/b.raw: (errno 2) No such file\n\tCode 13 Subcode 2\n"


def events(*given: tuple[str, int, str]) -> str:
    lines = [HEAD.format(number=number, job=job, second=at, more=more) for at, (number, job, more) in enumerate(given)]
    return "".join(lines)


@dataclass
class Told:
    """What the executor told, in the record as well."""

    state: State
    begun: list[str] = field(default_factory=list)
    ends: dict[str, End] = field(default_factory=dict)

    def started(self, job: Job) -> None:
        self.begun.append(job.name)
        self.state.write("started", job.name)

    def ended(self, end: End) -> None:
        assert end.job not in self.ends
        self.ends[end.job] = end


@dataclass
class Notes(Silent):
    """A sink that keeps the notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "run")
    made.make()
    return made


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool, "LOOK", 0.01)


@contextlib.contextmanager
def opened(place: Place) -> Iterator[tuple[Run, Told, Notes]]:
    notes = Notes()
    with contextlib.closing(State(place.state)) as state:
        one = replace(image(place.directory, TABLE))
        yield Run({"smoke": one}, place, state, notes), Told(state), notes


def executor() -> Pool:
    files = (built("root.qcow2", "qcow2"), built("io.raw", "raw"))
    return Pool({"smoke": Manifest("smoke", "", {}, {}, files, {}, {})})


def jobs(run: Run) -> Sequence[Job]:
    return run.images["smoke"].jobs


def answers(schedd: Schedd, text: str, *returned: str) -> None:
    """Let condor_submit write the event log, as the schedd and the shadows do."""
    (schedd.directory / "events").write_text(text)
    log = "$(sed -n 's/^log *= *//p' \"$2\")"
    disks = "".join(f"; echo x >returned/{name}" for name in returned)
    schedd.submits("7.0 - 7.2", f'cat {schedd.directory}/events >"{log}"{disks}')


ALL = events(
    ("000", 0, ""), ("000", 1, ""), ("000", 2, ""), ("001", 0, ""), ("001", 2, ""), ("012", 1, HOLD), ("005", 0, ""),
    ("021", 2, "\tError from slot1: VMGAHP_ERR_INTERNAL\n"), ("001", 2, ""),
    ("009", 2, "\tPeriodicRemove evaluated to TRUE\n"),
)  # fmt: skip


def test_every_job_is_reported(schedd: Schedd, place: Place) -> None:
    answers(schedd, ALL, "a-7.0.raw")
    with opened(place) as (run, told, notes):
        one = executor()
        one.run(run, jobs(run), told)
    assert told.begun == ["a", "c", "c"]
    (back,) = (note for note in notes.notes if note.startswith("c is back in the queue: "))
    assert "VMGAHP_ERR_INTERNAL" in back and "How to fix" in back
    assert (told.ends["a"].disk, told.ends["a"].verdict) == (place.returned / "a-7.0.raw", None)
    assert told.ends["b"].verdict == "held" and "/x/b.raw" in told.ends["b"].reason
    assert told.ends["c"].verdict == "killed" and "PeriodicRemove" in told.ends["c"].reason
    assert one.describe()["clusters"] == [7]
    assert "3 jobs of smoke are cluster 7" in notes.notes
    assert place.log("b").read_text().startswith("000 (007.001.000)")


def test_what_was_submitted_is_never_submitted_again(schedd: Schedd, place: Place) -> None:
    answers(schedd, ALL, "a-7.0.raw")
    with opened(place) as (run, told, _):
        executor().run(run, jobs(run), told)
    with opened(place) as (run, told, notes):
        executor().run(run, jobs(run)[1:2], told)
    assert schedd.calls == 1
    assert not [note for note in notes.notes if "back in the queue" in note]
    # A start that an earlier call told is not told again.
    assert told.begun == [] and set(told.ends) == {"b"}


@pytest.mark.parametrize(("image", "rows"), [("smoke", [7]), ("other", [0])])
def test_a_record_of_jobs_that_are_not_there_submits_nothing(
    image: str, rows: list[int], schedd: Schedd, place: Place
) -> None:
    answers(schedd, ALL, "a-7.0.raw")
    with opened(place) as (run, told, _):
        run.state.write(submission.INTENT, token="0123456789", image=image, rows=rows, host="h", begun=1.0)
        with pytest.raises(ImageError, match="that this run does not have"):
            executor().run(run, jobs(run), told)
    assert schedd.calls == 0


def test_a_job_removed_while_it_was_held_is_submitted_anew(schedd: Schedd, place: Place) -> None:
    answers(schedd, ALL.replace(HOLD, HOLD) + events(("009", 1, "\tby hand\n")), "a-7.0.raw")
    with opened(place) as (run, told, _):
        executor().run(run, jobs(run), told)
    assert told.ends["b"].verdict == "held" and "by hand" in told.ends["b"].reason
    answers(schedd, events(("000", 0, ""), ("001", 0, ""), ("005", 0, "")), "b-7.0.raw")
    log = "$(sed -n 's/^log *= *//p' \"$2\")"
    again = f'sed "s/(007/(008/" {schedd.directory}/events >"{log}"; echo x >returned/b-8.0.raw'
    schedd.submits("8.0 - 8.0", again)
    with opened(place) as (run, told, _):
        executor().run(run, jobs(run)[1:2], told)
    assert told.ends["b"].disk == place.returned / "b-8.0.raw"


def test_a_job_without_a_last_event_is_lost_only_when_nobody_knows_it(
    schedd: Schedd, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ASK", 0.0)
    answers(schedd, events(("000", 0, ""), ("001", 0, ""), ("000", 1, ""), ("000", 2, "")))
    schedd.tool("condor_history", 'echo \'[{"ClusterId": 7, "ProcId": 1, "JobStatus": 3, "RemoveReason": "by hand"}]\'')
    with opened(place) as (run, told, _):
        executor().run(run, jobs(run), told)
    assert told.ends["a"].verdict == "killed" and "no longer knows it" in told.ends["a"].reason
    assert told.ends["b"].verdict == "never started" and "by hand" in told.ends["b"].reason
    assert told.ends["c"].verdict == "never started"


def test_a_schedd_that_does_not_answer_is_waited_for(
    schedd: Schedd, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool, "ASK", 0.0)
    answers(schedd, events(("000", 0, ""), ("000", 1, ""), ("000", 2, "")))
    flag = schedd.directory / "asked"
    log = "$(ls pool/*.log)"
    more = events(("005", 0, ""), ("005", 1, ""), ("005", 2, ""))
    (schedd.directory / "more").write_text(more)
    ends = f"[ $(wc -l <{flag}) -lt 3 ] || cat {schedd.directory}/more >>{log}"
    schedd.tool("condor_q", f"cd {place.directory}; echo x >>{flag}; {ends}; exit 1")
    with opened(place) as (run, told, notes):
        executor().run(run, jobs(run), told)
    assert len(told.ends) == 3
    assert [note for note in notes.notes if "waiting" in note] == [
        "no schedd answers: waiting for it; the jobs keep running"
    ]


def test_a_refusal_tells_what_condor_submit_said(schedd: Schedd, place: Place) -> None:
    schedd.submits("", "echo 'ERROR: no such universe' >&2; exit 1")
    with opened(place) as (run, told, _), pytest.raises(ToolError, match="no such universe"):
        executor().run(run, jobs(run), told)
    assert not told.ends
