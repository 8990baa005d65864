"""A directory in memory: only where there is room, where programs run, and where it is ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.host import memory
from roost.store import cache


@pytest.fixture
def attributes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let every file system have room, and user attributes; return the files that were given one."""
    asked: list[str] = []
    monkeypatch.setattr(memory, "SPARE", 0)
    monkeypatch.setattr(memory, "INODES", 0)
    monkeypatch.setattr(os, "setxattr", lambda path, name, value: asked.append(path))
    return asked


def test_where_there_is_room_it_is_taken(tmp_path: Path, attributes: list[str]) -> None:
    assert memory.place(0, tmp_path) == tmp_path
    assert len(attributes) == 1 and Path(attributes[0]).parent == tmp_path
    assert list(tmp_path.iterdir()) == []


def test_without_room_or_attributes_there_is_no_place(
    tmp_path: Path, attributes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert memory.place(1 << 60, tmp_path) is None
    assert memory.place(0, tmp_path / "none") is None

    def refuse(*_: object) -> None:
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr(os, "setxattr", refuse)
    assert memory.place(0, tmp_path) is None
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
