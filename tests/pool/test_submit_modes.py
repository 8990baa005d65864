"""What roost's submit descriptions promise, mode by mode, is what a real HTCondor makes of them."""

from __future__ import annotations

import json
from concurrent.futures import Future
from pathlib import Path

import pytest

from roost.condor.lint import lint_file
from tests.pool import disks, modes
from tests.pool.conftest import Pools
from tests.pool.harness import PoolResult
from tests.pool.job import JobResult

pytestmark = [pytest.mark.pool, pytest.mark.timeout(1200)]


def _completed(pool: Future[PoolResult], name: str) -> list[JobResult]:
    jobs = pool.result().all(name)
    for job in jobs:
        assert (job.outcome, job.exit_code) == ("completed", 0), (job.outcome, job.reason, job.events)
        assert "roost: job finished: exit 0" in job.console, job.console[-3000:]
    return jobs


def _new_files(job: JobResult, pools: Pools) -> set[str]:
    """Return the files in the job's directory that were not there when it was submitted, but for job event logs."""

    def files(directory: Path) -> set[str]:
        return {
            str(path.relative_to(directory))
            for path in directory.rglob("*")
            if path.is_file() and path.suffix != ".log"
        }

    return files(job.directory) - files(pools.directory / "in" / "modes" / job.name)


def _untouched(job: JobResult, pools: Pools, *names: str) -> None:
    for name in names:
        submitted = pools.directory / "in" / "modes" / job.name / name
        assert (job.directory / name).read_bytes() == submitted.read_bytes(), name


def _result(disk: Path) -> str:
    status = json.loads(disks.cat(disk, "/status.json") or b"{}")
    assert status.get("exit_code") == 0, status
    return (disks.cat(disk, "/output/result.txt") or b"").decode().strip()


@pytest.mark.parametrize("name", modes.ALL)
def test_the_lint_finds_nothing_wrong(name: str, pools: Pools, pool_modes: Future[PoolResult]) -> None:
    report = lint_file(pools.directory / "in" / "modes" / name / "job.sub")
    assert report.ok, report.render()


def test_both_disks_come_back_under_names_of_their_own(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    (job,) = _completed(pool_modes, "all-returned")
    assert _new_files(job, pools) == {f"root-{job.id}.qcow2", f"io-{job.id}.raw"}
    _untouched(job, pools, "root.qcow2", "io.raw")
    assert _result(job.directory / f"io-{job.id}.raw") == "42"
    assert disks.format_of(job.directory / f"root-{job.id}.qcow2") == "qcow2"
    assert disks.cat(job.directory / f"root-{job.id}.qcow2", "/opt/job/run") is not None


def test_output_goes_to_the_directory_named(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    (job,) = _completed(pool_modes, "to-directory")
    assert _new_files(job, pools) == {f"results/io-{job.id}.raw"}
    assert _result(job.directory / "results" / f"io-{job.id}.raw") == "42"


@pytest.mark.parametrize("name", ["none-returned", "no-output"])
def test_nothing_comes_back(name: str, pools: Pools, pool_modes: Future[PoolResult]) -> None:
    (job,) = _completed(pool_modes, name)
    assert _new_files(job, pools) == set()
    _untouched(job, pools, "root.qcow2", "io.raw")


def test_only_the_overlay_comes_back(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    (job,) = _completed(pool_modes, "overlay")
    assert _new_files(job, pools) == {f"root-{job.id}.qcow2", f"io-{job.id}.raw"}
    _untouched(job, pools, "root.qcow2", "base.qcow2", "io.raw")
    assert _result(job.directory / f"io-{job.id}.raw") == "42"
    # The base is beside it, as it was beside the overlay that was submitted.
    assert disks.cat(job.directory / f"root-{job.id}.qcow2", "/opt/job/run") is not None


def test_shared_disks_change_in_place(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    (job,) = _completed(pool_modes, "shared")
    assert _new_files(job, pools) == set()
    assert _result(job.directory / "io.raw") == "42"


def test_each_job_of_a_file_gets_its_own_disk(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    jobs = _completed(pool_modes, "jobs-file")
    names = [f"io-{name}-{job.id}.raw" for name, job in zip(modes.NUMBERS, jobs, strict=True)]
    assert _new_files(jobs[0], pools) == set(names)
    sums = [str(sum(numbers)) for numbers in modes.NUMBERS.values()]
    assert [_result(jobs[0].directory / name) for name in names] == sums
    _untouched(jobs[0], pools, "root.qcow2", "io.raw", *(f"io-{name}.raw" for name in modes.NUMBERS))


def test_values_with_blanks_and_quotes_reach_their_jobs(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    jobs = _completed(pool_modes, "jobs-values")
    assert len(jobs) == len(modes.VALUES)
    assert _new_files(jobs[0], pools) == {
        f"io-{name}-{job.id}.raw" for name, job in zip(modes.VALUES, jobs, strict=True)
    }
    for (name, (_, note)), job, own in zip(modes.VALUES.items(), jobs, ("one.txt", "my numbers.txt"), strict=True):
        disk = jobs[0].directory / f"io-{name}-{job.id}.raw"
        assert json.loads(disks.cat(disk, "/input/job.json") or b"{}")["note"] == note
        assert disks.cat(disk, "/input/note") == b"for all\n"
        # The example job adds up numbers.txt, which neither has: each got the files of its own row.
        assert _result(disk) == "42"
        assert disks.cat(disk, f"/input/{own}") is not None


def test_a_raw_root_beside_a_qcow2_io_disk(pools: Pools, pool_modes: Future[PoolResult]) -> None:
    (job,) = _completed(pool_modes, "raw-root")
    assert _new_files(job, pools) == {f"data-{job.id}.qcow2"}
    assert _result(job.directory / f"data-{job.id}.qcow2") == "42"
