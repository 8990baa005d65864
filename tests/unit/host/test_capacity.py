"""Cores and memory as control groups allow them; the groups are made up, the machine is this one."""

from __future__ import annotations

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
