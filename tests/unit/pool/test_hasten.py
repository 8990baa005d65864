"""Which guests a session of the pool has HTCondor look at, and when."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.pool.sessions import hasten
from tests.pool.sessions.hasten import Hasten

BOOTING, AT_WORK, OFF = "Linux\n", "Linux\nroost: job started\n", "roost: job started\nreboot: Power down\n"


class Pool:
    """The guests and processes of a pool that is not there."""

    def __init__(self, domains: Path) -> None:
        self.domains = domains
        self.running: dict[str, int] = {}
        self.calls: list[str] = []

    def guest(self, id_: str, job: str, console: str | None) -> None:
        """Have a guest of a job, whose process runs until `gone`; without a console it waits to boot."""
        stem = self.domains / f"submitter_pool.invalid_{id_}"
        Path(f"{stem}.ad").write_text(f'DAGNodeName = "run-{job}"\nRoostJob = "{job}"\n')
        if console is not None:
            Path(f"{stem}.console").write_text(console)
        self.running.setdefault(f"guest=submitter_pool.invalid_{id_}", 1000 + len(self.running))

    def gone(self, id_: str) -> None:
        """End the process of a guest."""
        del self.running[f"guest=submitter_pool.invalid_{id_}"]


@pytest.fixture
def pool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Pool:
    """Return a pool without guests."""
    made = Pool(tmp_path)

    def call(*argv: str, **_how: Any) -> subprocess.CompletedProcess[str]:
        made.calls.append(" ".join(argv))
        return subprocess.CompletedProcess(argv, 1, "", "not running")

    monkeypatch.setattr(hasten, "DOMAINS", tmp_path)
    monkeypatch.setattr(hasten, "call", call)
    monkeypatch.setattr(hasten, "pids", lambda words: [made.running[words]] if words in made.running else [])
    return made


def test_a_guest_is_looked_at_once_when_it_is_off_and_gone(pool: Pool) -> None:
    one = Hasten(r"job-\d+")
    pool.guest("7.0", "job-0", AT_WORK)
    one.ended()
    pool.guest("7.0", "job-0", OFF)
    one.ended()
    # As long as libvirt has it, HTCondor would suspend it.
    assert pool.calls == []
    pool.gone("7.0")
    one.ended()
    one.ended()
    assert pool.calls == ["condor_suspend 7.0"]


def test_other_jobs_are_left_to_htcondor(pool: Pool) -> None:
    for number, job in enumerate(("job-1-of-another", "el8-job-1")):
        pool.guest(f"{number}.0", job, OFF)
        pool.gone(f"{number}.0")
    one = Hasten(r"job-\d+")
    one.ended()
    assert pool.calls == [] and one.begun() == 0


def test_a_guest_has_begun_when_it_has_a_console(pool: Pool) -> None:
    pool.guest("7.0", "job-0", None)
    one = Hasten(r"job-\d+")
    one.ended()
    assert one.begun() == 0
    pool.guest("7.0", "job-0", BOOTING)
    pool.guest("9.0", "job-0", BOOTING)
    assert one.begun() == 2


def test_the_guest_of_one_job_is_killed_at_work(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    killed: list[int] = []
    monkeypatch.setattr("os.kill", lambda pid, _signal: killed.append(pid))
    one = Hasten(r"job-\d+")
    pool.guest("6.0", "job-0", AT_WORK)
    pool.guest("7.0", "job-1", BOOTING)
    assert not one.kill("job-1")
    pool.guest("7.0", "job-1", AT_WORK)
    assert one.kill("job-1")
    assert killed == [1001] and pool.calls == ["condor_suspend 7.0"]
