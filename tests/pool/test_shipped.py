"""The images that roost ships run as jobs of a real HTCondor, straight from what the build left."""

from __future__ import annotations

import hashlib
import json
from concurrent.futures import Future
from datetime import datetime
from pathlib import Path

import pytest

from tests.images.calls import PROJECT
from tests.pool import disks
from tests.pool.harness import PoolResult
from tests.pool.job import JobResult

pytestmark = [pytest.mark.pool, pytest.mark.timeout(1200)]


def _sum(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _did_its_job(job: JobResult) -> None:
    """Assert that the job's own io disk came back beside the others, and holds the result."""
    assert (job.outcome, job.exit_code) == ("completed", 0), (job.reason, job.events, job.console[-3000:])
    io = job.directory / f"io-{job.id}.raw"
    assert io.is_file(), sorted(path.name for path in job.directory.iterdir())
    status = json.loads(disks.cat(io, "/status.json") or b"{}")
    assert (status["exit_code"], status["signal"], status["timed_out"]) == (0, None, False)
    start, end = (datetime.fromisoformat(status[key]) for key in ("start", "end"))
    assert start <= end
    assert disks.cat(io, "/output/result.txt") == b"42\n"
    assert b"the result is 42" in (disks.cat(io, "/job.log") or b"")
    assert "roost: job finished: exit 0" in job.console
    assert "reboot: Power down" in job.console
    # What was submitted is still what was built: the next job of the cluster starts from the same bytes.
    built = PROJECT / "build" / job.name
    for name in ("root.qcow2", "io.raw"):
        assert _sum(job.directory / name) == _sum(built / name), name


def test_smoke(pool_shipped: Future[PoolResult]) -> None:
    _did_its_job(pool_shipped.result().one("smoke"))


def test_debian_12(pool_shipped: Future[PoolResult]) -> None:
    _did_its_job(pool_shipped.result().one("debian-12"))
