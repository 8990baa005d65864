"""A directory appears whole or not at all."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from roost.errors import HostError
from roost.store import staging


def _fill(final: Path, text: str) -> None:
    with staging.staged(final) as directory:
        (directory / "file").write_text(text)
        assert not final.exists() or (final / "file").read_text() != text


def test_directory_appears_at_the_end_and_nothing_else_is_left(tmp_path: Path) -> None:
    _fill(tmp_path / "image", "one")
    assert (tmp_path / "image" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_new_directory_replaces_the_old(tmp_path: Path) -> None:
    _fill(tmp_path / "image", "one")
    _fill(tmp_path / "image", "two")
    assert (tmp_path / "image" / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_a_failure_keeps_the_old_and_leaves_nothing(tmp_path: Path) -> None:
    _fill(tmp_path / "image", "one")
    with pytest.raises(OSError, match="disk full"), staging.staged(tmp_path / "image") as directory:
        (directory / "file").write_text("two")
        raise OSError("disk full")
    assert (tmp_path / "image" / "file").read_text() == "one"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_what_a_killed_build_left_is_removed(tmp_path: Path) -> None:
    (tmp_path / ".image.staging-1").mkdir()
    _fill(tmp_path / "image", "one")
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_what_a_killed_build_of_another_user_left_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a container every build is process 1, and two users can share a directory."""
    left = staging.place(tmp_path / "image")
    left.mkdir()
    monkeypatch.setattr("shutil.rmtree", lambda *_, **__: None)
    with pytest.raises(HostError, match=f"{left} is left over from a killed build of another user"):
        _fill(tmp_path / "image", "one")


def test_without_exchange_the_old_gives_way(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(one: Path, other: Path) -> None:
        raise OSError("not supported")

    monkeypatch.setattr(staging, "exchange", refuse)
    _fill(tmp_path / "image", "one")
    _fill(tmp_path / "image", "two")
    assert (tmp_path / "image" / "file").read_text() == "two"
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


def test_two_builds_of_one_image_wait_for_each_other(tmp_path: Path) -> None:
    order: list[str] = []
    waited = threading.Event()
    inside = threading.Event()

    def second() -> None:
        inside.wait(5)
        with staging.lock(tmp_path / "image", waited.set):
            order.append("second")

    thread = threading.Thread(target=second)
    thread.start()
    with staging.lock(tmp_path / "image", lambda: None):
        inside.set()
        assert waited.wait(5)
        order.append("first")
    thread.join(5)
    assert order == ["first", "second"]


def test_a_passing_lock_keeps_others_out_and_leaves_no_file(tmp_path: Path) -> None:
    within = 0
    most: list[int] = []

    def write() -> None:
        nonlocal within
        for _ in range(5):
            with staging.passing_lock(tmp_path / "site", lambda: None):
                within += 1
                most.append(within)
                time.sleep(0.002)
                within -= 1

    threads = [threading.Thread(target=write) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert most == [1] * 30
    assert list(tmp_path.iterdir()) == []


def test_those_who_read_an_image_wait_for_its_build_and_not_for_each_other(tmp_path: Path) -> None:
    """A run holds its image for hours: others may run jobs on it meanwhile, and nobody may build it."""
    order: list[str] = []
    waited = threading.Event()

    def build() -> None:
        with staging.lock(tmp_path / "image", waited.set):
            order.append("built")

    def fail() -> None:
        raise AssertionError("it waits for another reader")

    with staging.reading(tmp_path / "image", fail), staging.reading(tmp_path / "image", fail):
        thread = threading.Thread(target=build)
        thread.start()
        assert waited.wait(5)
        order.append("read")
    thread.join(5)
    assert order == ["read", "built"]

    told = threading.Event()

    def read() -> None:
        with staging.reading(tmp_path / "image", told.set):
            order.append("read again")

    with staging.lock(tmp_path / "image", fail):
        thread = threading.Thread(target=read)
        thread.start()
        assert told.wait(5)
        order.append("built again")
    thread.join(5)
    assert order[2:] == ["built again", "read again"]


def test_atomic_write_leaves_only_the_file(tmp_path: Path) -> None:
    staging.write_atomically(tmp_path / "a", b"x")
    staging.write_atomically(tmp_path / "a", b"y")
    assert (tmp_path / "a").read_bytes() == b"y"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]


def test_a_link_to_a_directory_stays_and_its_target_is_replaced(tmp_path: Path) -> None:
    """Whoever moved an image's directory to a larger disk left a link."""
    (tmp_path / "large").mkdir()
    (tmp_path / "image").symlink_to("large/image")
    for text in ("one", "two"):
        _fill(tmp_path / "image", text)
        assert (tmp_path / "image").is_symlink() and (tmp_path / "large/image/file").read_text() == text
    assert [path.name for path in (tmp_path / "large").iterdir()] == ["image"]


def test_a_directory_does_not_replace_a_file_or_a_fifo(tmp_path: Path) -> None:
    """What is not ours stays."""
    os.mkfifo(tmp_path / "image")
    with pytest.raises(OSError, match="a FIFO, not a directory"), staging.staged(tmp_path / "image"):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["image"]


@pytest.mark.parametrize("make", ["fifo", "link", "device", "directory"])
def test_atomic_write_replaces_nothing_but_files(tmp_path: Path, make: str) -> None:
    """Whatever was planted under the name of a file of roost's own stays, and is told."""
    path = tmp_path / "a"
    match make:
        case "fifo":
            os.mkfifo(path)
        case "link":
            path.symlink_to("elsewhere")
        case "device":
            path.symlink_to("/dev/null")
        case _:
            path.mkdir()
    before = path.lstat()
    with pytest.raises(OSError, match="not a file"):
        staging.write_atomically(path, b"x")
    assert path.lstat().st_ino == before.st_ino
    assert [one.name for one in tmp_path.iterdir()] == ["a"]


def test_a_lock_that_is_a_link_is_not_opened(tmp_path: Path) -> None:
    """Opening it would empty what it names."""
    (tmp_path / "victim").write_text("content")
    (tmp_path / ".image.lock").symlink_to("victim")
    with pytest.raises(OSError, match="a link, not a file"), staging.lock(tmp_path / "image", lambda: None):
        pass
    assert (tmp_path / "victim").read_text() == "content"
