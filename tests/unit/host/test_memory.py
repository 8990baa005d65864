"""A directory in memory: only where there is room, where programs run, and where it is ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.host import memory
from roost.store import cache


def test_no_room_no_folder(tmp_path: Path) -> None:
    assert memory.place(1 << 60, tmp_path) is None
    assert memory.place(0, tmp_path / "none") is None
    assert memory.place(0, tmp_path) in {None, tmp_path}  # some file systems have no user attributes
    assert list(tmp_path.iterdir()) == []


def test_a_tree_in_memory_is_its_users_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "place", lambda room: tmp_path)
    with cache.work_directory(1) as work:
        assert work.parent == tmp_path
        assert work.name.startswith(f"roost-{os.geteuid()}-")
        assert work.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in tmp_path.iterdir()] == ["cache"]


def test_what_others_planted_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(memory, "SHARED", tmp_path)
    victim = tmp_path / "victim"
    victim.touch()
    (tmp_path / f"roost-{os.geteuid()}-1.lock").symlink_to(victim)
    (tmp_path / f"roost-{os.geteuid()}-1").mkdir()
    with cache.work_directory():
        pass
    assert victim.exists()
    assert (tmp_path / f"roost-{os.geteuid()}-1").is_dir()


@pytest.mark.parametrize("room", [None, 1 << 20, 1 << 60])
def test_a_work_folder_is_gone_afterwards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, room: int | None) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    with cache.work_directory(room) as work:
        (work / "tree").mkdir()
        assert room == 1 << 20 or work.is_relative_to(tmp_path)
    assert not work.exists()
    assert list((tmp_path / "work").iterdir()) == []


def test_what_a_killed_build_left_is_removed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    left = tmp_path / "work" / "1-abcd"
    left.mkdir(parents=True)
    left.with_suffix(".lock").touch()
    with cache.work_directory():
        assert not left.exists()
