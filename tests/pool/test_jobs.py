"""Ten jobs by `inv run` in the pool: one fails, one hangs, one wants an input, one is held; killed and resumed."""

from __future__ import annotations

from collections import Counter
from concurrent.futures import Future
from typing import Any

import pytest

from tests.pool import ten
from tests.pool.harness import PoolResult
from tests.pool.job import JobResult
from tests.pool.sessions.ten import LOST

pytestmark = [pytest.mark.pool, pytest.mark.timeout(1200)]

VERDICTS = {
    f"io-{number}": {ten.FAILING: "failed", ten.ENDLESS: "killed", ten.WANTING: "held"}.get(number, "done")
    for number in range(ten.COUNT)
}


@pytest.fixture(scope="module")
def session(pool_ten: Future[PoolResult]) -> JobResult:
    """Return what the session left."""
    return pool_ten.result().one("ten")


@pytest.fixture(scope="module")
def seen(session: JobResult) -> dict[str, Any]:
    """Return what the session saw."""
    return session.facts()


def test_every_job_has_the_verdict_that_its_disk_or_the_pool_tells(seen: dict[str, Any]) -> None:
    assert seen["code"] == 1
    jobs = {job["name"]: job for job in seen["answer"]["jobs"]}
    assert {name: job["verdict"] for name, job in jobs.items()} == VERDICTS | {LOST: "held"}
    assert jobs[f"io-{ten.FAILING}"]["exit_code"] == 3
    assert "PeriodicRemove" in jobs[f"io-{ten.ENDLESS}"]["reason"]
    assert "missing.txt" in jobs[f"io-{ten.WANTING}"]["reason"]
    # What HTCondor says of the hold, and what `inv explain` knows of it.
    assert f"{LOST}.raw" in jobs[LOST]["reason"] and "How to fix: " in jobs[LOST]["reason"]
    assert "condor_release" in jobs[LOST]["reason"]


def test_nothing_ran_twice(seen: dict[str, Any]) -> None:
    # All but the one that lacked an input before anything was submitted, in one cluster, from one submission.
    assert seen["queued"] == ten.COUNT - 1
    assert len(seen["jobs"]) == ten.COUNT - 1, seen["jobs"]
    assert len({(job["ClusterId"], job["RoostRun"]) for job in seen["jobs"]}) == 1
    assert Counter(job["RoostJob"] for job in seen["jobs"]) == Counter(set(VERDICTS) - {f"io-{ten.WANTING}"})
    started = {job["RoostJob"]: job["NumJobStarts"] or 0 for job in seen["jobs"]}
    assert {name for name, times in started.items() if times != 1} <= {LOST}, started
    assert started[LOST] == 0


def test_it_was_really_stopped_half_way(seen: dict[str, Any]) -> None:
    assert seen["stopped"]["code"] == 143 and seen["stopped"]["seconds"] < 2.5
    assert 1 <= seen["ended_then"] < ten.COUNT - 1
    assert "have a verdict and are not run again" in seen["said"]


def test_a_hold_that_was_fixed_is_resumed(seen: dict[str, Any], session: JobResult) -> None:
    jobs = {job["name"]: job for job in seen["again"]["answer"]["jobs"]}
    assert {name: job["verdict"] for name, job in jobs.items()} == VERDICTS
    for number in range(ten.COUNT):
        if VERDICTS[f"io-{number}"] == "done":
            output = session.directory / "out" / "results" / f"io-{number}" / "output" / "sum"
            assert output.read_text() == f"{number + 1000}\n"


def test_each_job_has_its_own_events(session: JobResult) -> None:
    for number in range(ten.COUNT):
        log = session.directory / "out" / "logs" / f"io-{number}.log"
        if number != ten.WANTING:
            assert log.read_text().startswith("000 ("), log
