"""Cores and memory as control groups allow them; the groups are made up, the machine is this one."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roost.host import capacity


@pytest.fixture
def groups(tmp_path: Path) -> tuple[Path, Path]:
    """Return a tree of control groups and what says which of them is ours: /batch/job."""
    own = tmp_path / "cgroup"
    own.write_text("4:cpu:/other\n0::/batch/job\n")
    (tmp_path / "fs/batch/job").mkdir(parents=True)
    return tmp_path / "fs", own


def test_without_limits_all_of_the_machine_is_ours(groups: tuple[Path, Path]) -> None:
    assert capacity.cores(*groups) >= 1
    assert capacity.memory_free(*groups) > 0


@pytest.mark.parametrize(("quota", "cores"), [("100000 100000", 1), ("50000 100000", 1), ("max 100000", None)])
def test_cores_are_those_of_the_group(groups: tuple[Path, Path], quota: str, cores: int | None) -> None:
    whole = capacity.cores(*groups)
    (groups[0] / "batch/cpu.max").write_text(f"{quota}\n")
    assert capacity.cores(*groups) == (cores or whole)


def test_memory_is_what_the_group_has_left_without_the_pages_of_files(
    groups: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(capacity, "_machine", lambda: 10_000)
    job = groups[0] / "batch/job"
    (job / "memory.max").write_text("5000\n")
    (job / "memory.current").write_text("4000\n")
    assert capacity.memory_free(*groups) == 1000
    (job / "memory.stat").write_text("anon 1000\nfile 3000\n")
    assert capacity.memory_free(*groups) == 4000
    # Files of a tmpfs are among them, and have nowhere else to go.
    (job / "memory.stat").write_text("anon 1000\nfile 3000\nshmem 500\n")
    assert capacity.memory_free(*groups) == 3500
    (job / "memory.max").write_text("max\n")
    assert capacity.memory_free(*groups) == 10_000
    (job / "memory.max").write_text("nonsense\n")
    assert capacity.memory_free(*groups) == 10_000


def test_the_time_without_a_core_is_that_of_the_thread_that_waited_longest(tmp_path: Path) -> None:
    for thread, counters in (("7", "900000000 1500000000 12"), ("8", "100 2500000000 1"), ("9", "")):
        (tmp_path / "7/task" / thread).mkdir(parents=True)
        (tmp_path / "7/task" / thread / "schedstat").write_text(counters)
    assert capacity.waited(7, tmp_path) == 2.5
    assert capacity.waited(1, tmp_path) == 0.0


def test_a_process_on_a_busy_core_is_seen_to_wait() -> None:
    core = min(os.sched_getaffinity(0))
    spin = ["taskset", "-c", str(core), sys.executable, "-c", "while True: pass"]
    both = [subprocess.Popen(spin) for _ in range(2)]
    try:
        ends = time.monotonic() + 30
        while time.monotonic() < ends and not all(capacity.waited(one.pid) > 0.05 for one in both):
            time.sleep(0.05)
        assert all(capacity.waited(one.pid) > 0.05 for one in both)
    finally:
        for one in both:
            one.kill()
            one.wait()
