"""Ten jobs from one file, one that fails and one that never ends, and what `inv collect` says of their disks."""

from __future__ import annotations

from concurrent.futures import Future

import pytest

from tests.images.calls import roost
from tests.pool import ten
from tests.pool.conftest import Pools
from tests.pool.harness import PoolResult

pytestmark = [pytest.mark.pool, pytest.mark.timeout(1200)]


def test_ten_jobs(pool_ten: Future[PoolResult], pools: Pools) -> None:
    jobs = {int(job.id.rpartition(".")[2]): job for job in pool_ten.result().all("ten")}
    assert sorted(jobs) == list(range(ten.COUNT))
    endless = jobs.pop(ten.ENDLESS)
    assert endless.outcome == "removed", (endless.outcome, endless.events, endless.console[-2000:])
    assert "PeriodicRemove" in endless.reason
    # Its guest was up and at work; nothing but HTCondor ended it.
    assert "roost: job started" in endless.console
    assert "roost: job finished" not in endless.console
    for number, job in jobs.items():
        assert (job.outcome, job.exit_code) == ("completed", 0), (number, job.reason, job.events)

    back = {number: job.directory / f"io-{number}-{job.id}.raw" for number, job in jobs.items()}
    removed = endless.directory / f"io-{ten.ENDLESS}.raw"
    out = pools.directory / "collected"
    collected = roost("collect", *map(str, back.values()), str(removed), str(out), "--json")
    assert collected.code == 1, collected.err
    answer = collected.answer
    assert answer["counts"] == {"done": ten.COUNT - 2, "failed": 1, "never started": 1}
    verdicts = {one["disk"]: one for one in answer["disks"]}
    assert verdicts[str(removed)]["verdict"] == "never started"
    assert verdicts[str(back[ten.FAILING])]["exit_code"] == 3
    for number, disk in back.items():
        assert (out / disk.stem / "output" / "sum").read_text() == f"{number + 1000}\n"
