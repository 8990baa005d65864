"""A run's jobs are submitted once, whatever stopped whoever submitted them; a schedd that is silent is no "no"."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.errors import HostError, ImageError, ToolError, UsageError
from roost.run import submission
from roost.run.place import Place
from roost.run.state import State
from roost.run.submission import Submission

EVENT = "000 (007.000.000) 2026-11-26 17:47:13 Job submitted from host: <127.0.0.1>\n...\n"


class Schedd:
    """Stand-ins for HTCondor's tools; `calls` counts submissions."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.queue(None)
        self.tool("condor_history", "exit 0")
        self.submits("7.0 - 7.1")

    def tool(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f"#!/bin/sh\n{script}\n")
        path.chmod(0o755)

    def submits(self, answer: str, then: str = "") -> None:
        self.tool("condor_submit", f"echo x >>{self.directory}/calls; echo '{answer}'; {then}")

    def queue(self, cluster: int | None) -> None:
        ads = f'echo \'[{{"ClusterId": {cluster}, "ProcId": 0, "JobStatus": 1}}]\'' if cluster else "exit 0"
        self.tool("condor_q", ads)

    @property
    def calls(self) -> int:
        try:
            return len((self.directory / "calls").read_text().splitlines())
        except FileNotFoundError:
            return 0


@pytest.fixture
def schedd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Schedd:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:/usr/bin:/bin")
    monkeypatch.setattr(submission, "SETTLE", 0.0)
    return Schedd(directory)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    made = Place(tmp_path / "run")
    made.make()
    return made


@pytest.fixture
def state(place: Place) -> Iterator[State]:
    with contextlib.closing(State(place.state)) as opened:
        yield opened


def again(place: Place) -> list[Submission]:
    """Return what a later process finds in the record."""
    with contextlib.closing(State(place.state)) as opened:
        return submission.recall(opened)


def test_a_submission_is_remembered(schedd: Schedd, place: Place, state: State) -> None:
    done = submission.submit(submission.intended("sim", [0, 2]), "queue\n", place, state)
    assert done.cluster == 7
    assert again(place) == [done]
    assert submission.covered(again(place)) == {"sim": {0, 2}}


@pytest.mark.parametrize(
    ("event", "said"),
    [
        ("submitting", {"token": "../../../../etc/x", "image": "sim", "rows": [0], "host": "h", "begun": 1}),
        ("submitting", {"token": "0123456789", "image": "sim", "rows": ["a"], "host": "h", "begun": 1}),
        ("submitting", {"token": "0123456789", "image": "sim", "rows": [0], "host": "h", "begun": "q"}),
        ("submitted", {"token": "0123456789", "cluster": 7}),
        ("given up", {"token": "0123456789", "row": 0}),
    ],
)
def test_by_a_damaged_record_nothing_is_submitted(event: str, said: dict[str, Any], place: Place, state: State) -> None:
    state.write(event, **said)
    with pytest.raises(ImageError, match=r"state\.jsonl is damaged: "):
        again(place)


def test_killed_after_the_jobs_were_queued(schedd: Schedd, place: Place, state: State) -> None:
    schedd.submits("", "kill -9 $$")
    wanted = submission.intended("sim", [0])
    schedd.queue(9)
    # condor_submit failed, but its jobs are there.
    assert submission.submit(wanted, "queue\n", place, state).cluster == 9
    assert schedd.calls == 1


def test_killed_before_anybody_could_write_the_cluster_down(schedd: Schedd, place: Place, state: State) -> None:
    wanted = submission.intended("sim", [0])
    submission.intend(wanted, state)
    (open_,) = again(place)
    assert open_.cluster is None
    schedd.queue(11)
    settled = submission.settle(open_, place, state)
    assert settled is not None and settled.cluster == 11
    assert [one.cluster for one in again(place)] == [11]


def test_jobs_that_have_left_the_queue_already(schedd: Schedd, place: Place, state: State) -> None:
    wanted = submission.intended("sim", [0])
    schedd.tool("condor_history", 'echo \'[{"ClusterId": 8, "ProcId": 3, "JobStatus": 4}]\'')
    settled = submission.settle(wanted, place, state)
    assert settled is not None and settled.cluster == 8


def test_the_event_log_is_proof_even_where_the_schedd_is_silent(schedd: Schedd, place: Place, state: State) -> None:
    wanted = submission.intended("sim", [0])
    schedd.tool("condor_q", "exit 1")
    wanted.log(place).parent.mkdir()
    wanted.log(place).write_text(EVENT)
    settled = submission.settle(wanted, place, state)
    assert settled is not None and settled.cluster == 7


@pytest.mark.parametrize("silent", ["condor_q", "condor_history"])
def test_a_silent_schedd_is_not_an_empty_queue(silent: str, schedd: Schedd, place: Place, state: State) -> None:
    wanted = submission.intended("sim", [0])
    submission.intend(wanted, state)
    schedd.tool(silent, "echo down >&2; exit 1")
    with pytest.raises(HostError):
        submission.settle(wanted, place, state)
    assert len(again(place)) == 1


def test_only_the_machine_that_submitted_can_tell(schedd: Schedd, place: Place, state: State) -> None:
    elsewhere = Submission("0" * 32, "sim", (0,), "other.example", 0.0)
    with pytest.raises(UsageError, match=r"only other\.example knows"):
        submission.settle(elsewhere, place, state)


def test_what_never_came_about_may_be_submitted_again(schedd: Schedd, place: Place, state: State) -> None:
    schedd.submits("", "echo \"ERROR: 'vm_disk' has incorrect format.\" >&2; exit 1")
    with pytest.raises(ToolError, match="incorrect format"):
        submission.submit(submission.intended("sim", [0]), "queue\n", place, state)
    assert again(place) == []
    schedd.submits("7.0 - 7.0")
    submission.submit(submission.intended("sim", [0]), "queue\n", place, state)
    assert len(again(place)) == 1


def test_a_job_removed_while_it_was_held_may_be_submitted_anew(schedd: Schedd, place: Place, state: State) -> None:
    done = submission.submit(submission.intended("sim", [0, 2]), "queue\n", place, state)
    state.write(submission.GIVEN_UP, token=done.token, row=2)
    assert submission.covered(again(place)) == {"sim": {0}}
