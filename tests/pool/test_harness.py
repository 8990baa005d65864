"""The harness tells apart what HTCondor does with jobs, and leaves nothing behind, however it ends."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import Future
from pathlib import Path

import pytest

from roost.errors import HostError
from tests.pool import harness, rootfs, tiny
from tests.pool.conftest import DISK, TRANSFER, Pools, tiny_job
from tests.pool.harness import PROJECT, PoolResult

pytestmark = [pytest.mark.pool, pytest.mark.timeout(600)]


def test_a_completed_job_brings_its_disk_back_over_the_submitted_one(pool_outcomes: Future[PoolResult]) -> None:
    job = pool_outcomes.result().one("plain")
    assert (job.outcome, job.exit_code) == ("completed", 0), job
    assert job.wall is not None and 30 <= job.wall <= 200
    assert tiny.result(job.directory / "tiny.raw") == "42 done"
    assert "tiny: finished" in job.console
    assert "<domain type='kvm'>" in job.xml
    assert job.events == (job.directory / "job.log").read_text()


def test_a_cluster_is_as_many_results_and_a_remap_spares_the_original(pool_outcomes: Future[PoolResult]) -> None:
    jobs = pool_outcomes.result().all("remapped")
    assert [job.id.split(".")[1] for job in jobs] == ["0", "1"]
    for job in jobs:
        assert job.outcome == "completed"
        assert tiny.result(job.directory / f"tiny-{job.id}.raw") == "42 done"
    assert tiny.result(jobs[0].directory / "tiny.raw") == ""


def test_a_disk_that_is_not_transferred_is_held(pool_outcomes: Future[PoolResult]) -> None:
    job = pool_outcomes.result().one("not-transferred")
    assert (job.outcome, job.code, job.subcode) == ("held", 6, 10)
    assert "VMGAHP_ERR_JOBCLASSAD_KVM_INVALID_DISK_PARAM" in job.reason
    assert any("tiny.raw" in line for line in pool_outcomes.result().gahp_errors())


def test_a_missing_input_is_held(pool_outcomes: Future[PoolResult]) -> None:
    job = pool_outcomes.result().one("missing")
    assert (job.outcome, job.code) == ("held", 13)
    assert "nothing.raw" in job.reason


def test_what_condor_submit_refuses_comes_with_its_text(pool_outcomes: Future[PoolResult]) -> None:
    job = pool_outcomes.result().one("refused")
    assert (job.outcome, job.id) == ("refused", "")
    assert "'vm_disk' has incorrect format." in job.reason


def test_a_removed_job_says_by_what(pool_outcomes: Future[PoolResult]) -> None:
    job = pool_outcomes.result().one("never")
    assert job.outcome == "removed"
    assert "PeriodicRemove" in job.reason
    assert "tiny: finished" in job.console, "it was running, so it was the policy that ended it"


def test_an_error_of_libvirt_requeues_the_job_and_takes_the_machine_offline(pool_requeued: Future[PoolResult]) -> None:
    pool = pool_requeued.result()
    job = pool.one("declared-qcow2")
    assert (job.outcome, job.has_vm) == ("requeued", False)
    assert "VMGAHP_ERR_INTERNAL" in job.reason
    assert any("qcow2" in line for line in pool.gahp_errors())


def test_a_guest_that_never_ends_is_still_running_at_the_deadline(pool_runs_forever: Future[PoolResult]) -> None:
    job = pool_runs_forever.result().one("no-format")
    assert (job.outcome, job.status) == ("timeout", "running")
    assert "tiny:" not in job.console


def _members(scratch: Path) -> list[int]:
    """Return the processes that see a pool's mounts."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if str(scratch) in (process / "mountinfo").read_text():
                found.append(int(process.name))
        except OSError:
            continue
    return found


PROGRAM = """\
import json, sys
from pathlib import Path
from tests.pool import harness
from tests.pool.job import Job
harness.run([Job("hang", Path(sys.argv[1]))], Path(sys.argv[2]))
"""


def test_a_killed_harness_leaves_nothing_running_or_mounted(pools: Pools, tmp_path: Path) -> None:
    job = tiny_job(pools, "killed", "hang", DISK + TRANSFER, end=tiny.HANG)
    runs = rootfs.directory() / "runs"
    before = set(runs.iterdir())
    with subprocess.Popen([sys.executable, "-c", PROGRAM, str(job.submit), str(tmp_path)], cwd=PROJECT) as caller:
        end = time.monotonic() + 240
        consoles: list[Path] = []
        while not consoles and time.monotonic() < end:
            time.sleep(0.5)
            mine = [run for run in set(runs.iterdir()) - before if _named(run, job.submit.parent.name, tmp_path)]
            consoles = [path for run in mine for path in run.glob("upper/var/log/domains/*.console")]
        assert consoles, "the guest never started"
        scratch = consoles[0].parents[4]
        assert len(_members(scratch)) > 5
        caller.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while _members(scratch) and time.monotonic() < end:
        time.sleep(0.1)
    assert _members(scratch) == []
    assert str(scratch) not in Path("/proc/self/mountinfo").read_text()
    # The directory stays after SIGKILL; whoever comes next removes it, and no other's.
    with harness.overlay() as other:
        assert not scratch.exists()
        assert other.is_dir()
    assert not other.exists()


def _named(run: Path, job: str, results: Path) -> bool:
    try:
        spec = json.loads((run / "spec.json").read_text())
    except (OSError, ValueError):
        return False
    return bool(spec["results"] == str(results) and spec["jobs"][0]["name"] == job)


def test_without_root_it_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    with pytest.raises(HostError, match="needs root"):
        rootfs.make()
