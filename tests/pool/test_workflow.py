"""`inv run --dag` under a real DAGMan: a killed guest is tried again, throttles hold, the rescue DAG does the rest."""

from __future__ import annotations

import json
import re
from concurrent.futures import Future
from typing import Any

import pytest

from tests.pool import five
from tests.pool.harness import PoolResult
from tests.pool.job import JobResult
from tests.pool.sessions.workflow import KILLED, LATE, SHOWN

pytestmark = [pytest.mark.pool, pytest.mark.timeout(1200)]

#: The head of an event of the event logs, with its time.
EVENT = re.compile(r"^(000|005|009) \((\d+)\.\d+\.\d+\) (\S+ \S+)", re.MULTILINE)


@pytest.fixture(scope="module")
def session(pool_workflow: Future[PoolResult]) -> JobResult:
    """Return what the session left."""
    return pool_workflow.result().one("workflow")


@pytest.fixture(scope="module")
def seen(session: JobResult) -> dict[str, Any]:
    """Return what the session saw."""
    return session.facts()


def _verdicts(report: str) -> dict[str, str]:
    return {job["name"]: job["verdict"] for job in json.loads(report)["jobs"]}


def test_the_first_dag_leaves_a_rescue_dag_and_a_report_of_every_job(seen: dict[str, Any]) -> None:
    verdicts = _verdicts(seen["first"])
    assert verdicts == {f"job-{number}": "done" for number in range(five.COUNT)} | {LATE: "held"}
    (late,) = (job for job in json.loads(seen["first"])["jobs"] if job["name"] == LATE)
    assert "late.txt" in late["reason"]
    assert seen["rescue"] == ["run.dag.rescue001"]


def test_a_killed_guest_is_tried_again(seen: dict[str, Any]) -> None:
    clusters = [job["ClusterId"] for job in seen["jobs"] if job["RoostJob"] == KILLED]
    assert len(clusters) == 2, seen["jobs"]
    (killed,) = (job for job in json.loads(seen["first"])["jobs"] if job["name"] == KILLED)
    assert (killed["verdict"], killed["attempts"]) == ("done", 2)


def test_the_rescue_dag_does_the_rest_and_nothing_else(seen: dict[str, Any]) -> None:
    assert set(_verdicts(seen["second"]).values()) == {"done"}
    runs = [job["RoostJob"] for job in seen["jobs"] if job["RoostJob"].startswith("job-")]
    assert sorted(runs) == sorted([*(f"job-{number}" for number in range(five.COUNT)), KILLED])


def test_the_throttle_holds(session: JobResult) -> None:
    changes = []
    for log in (session.directory / "out" / "logs").glob("*.log"):
        changes += [(when, 1 if number == "000" else -1) for number, _id, when in EVENT.findall(log.read_text())]
    most = now = 0
    # An end goes before a beginning of the same second.
    for _when, change in sorted(changes):
        now += change
        most = max(most, now)
    assert most == 3 and now == 0


def test_values_reach_the_job_as_they_stand_in_the_file(seen: dict[str, Any]) -> None:
    notes = {job["RoostJob"]: job["Note"] for job in seen["jobs"] if job["RoostJob"].startswith("job-")}
    assert notes == {f"job-{number}": f"{five.NOTE} {number}" for number in range(five.COUNT)}


def test_disks_of_jobs_that_are_done_are_cleaned_up(seen: dict[str, Any], session: JobResult) -> None:
    assert seen["disks"] == []
    for number in range(five.COUNT):
        output = session.directory / "out" / "results" / f"job-{number}" / "output" / "sum"
        assert output.read_text() == f"{number + 1000}\n"


def test_the_report_is_written_in_every_form(session: JobResult) -> None:
    for name in ("report.json", "report.html", "junit.xml"):
        text = (session.directory / "out" / name).read_text()
        assert all(f"job-{number}" in text for number in range(five.COUNT)), name


def test_a_sweep_is_taken_by_condor_submit_dag_and_three_of_its_jobs_run(seen: dict[str, Any]) -> None:
    sweep = seen["sweep"]
    assert len(sweep["written"]["jobs"]) == 3 * 4 * 7
    assert sweep["nodes"] == 3 * 3 * 4 * 7
    assert len(five.SWEEP.splitlines()) <= 30
    verdicts = list(_verdicts(sweep["report"]).values())
    assert verdicts.count("done") == SHOWN and verdicts.count("never started") == 3 * 4 * 7 - SHOWN
