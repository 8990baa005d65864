"""Claims: of many that take a dead one over, one does, at whatever moment they come."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from roost.errors import ImageError
from roost.events import Silent
from roost.publish import claim, layout
from roost.publish.claim import TakenError
from roost.publish.targets.directory import Directory
from roost.publish.targets.kinds import open_target

PATH = "smoke/.publishing/v1.json"


def _dead() -> bytes:
    return layout.json_bytes({**claim._own("", []), "pid": 2**22 + 1})


def _taken_by_many(url: str) -> list[bool]:
    """Have eight take the claim over at once; return what each was told."""
    start = threading.Barrier(8)
    told: list[bool] = []

    def take() -> None:
        target = open_target(url)
        there = target.read(PATH) or b""
        start.wait()
        told.append(claim._take_over(target, PATH, there, layout.json_bytes(claim._own("", []))))

    threads = [threading.Thread(target=take) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return told


def test_of_many_that_take_over_a_dead_claim_one_does(tmp_path: Path) -> None:
    for number in range(20):
        url = str(tmp_path / str(number))
        open_target(url).create(PATH, _dead())
        assert sorted(_taken_by_many(url)) == [False] * 7 + [True]
        assert open_target(url).names("smoke/.publishing") == ["v1.json"]


def test_a_killed_publisher_blocks_nobody(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    dead = _dead()
    target.create(PATH, dead)
    ticket = f"smoke/.publishing/v1.{layout.sha256(dead)[:16]}.taken"
    target.create(ticket, _dead())
    # Also in that of one who does not wait, as collections do.
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), patience=0)) as ours:
        ours.check()
    assert target.names("smoke/.publishing") == []


def test_takers_that_were_killed_one_after_another_stand_in_nobodys_way(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    dead, other = _dead(), _dead()
    target.create(PATH, dead)
    ticket = f"smoke/.publishing/v1.{layout.sha256(dead)[:16]}.taken"
    target.create(ticket, other)
    target.create(f"{ticket}.{layout.sha256(other)[:16]}.taken", _dead())
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), patience=0)) as ours:
        ours.check()
    assert target.names("smoke/.publishing") == []


def test_of_many_that_meet_a_taker_that_was_killed_one_takes_over(tmp_path: Path) -> None:
    for number in range(20):
        url = str(tmp_path / str(number))
        dead = _dead()
        open_target(url).create(PATH, dead)
        open_target(url).create(f"smoke/.publishing/v1.{layout.sha256(dead)[:16]}.taken", _dead())
        assert sorted(_taken_by_many(url)) == [False] * 7 + [True]
        assert open_target(url).names("smoke/.publishing") == ["v1.json"]


def test_what_killed_takers_left_is_swept_away_and_no_more(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    alive = layout.json_bytes(claim._own("", []))
    target.create(PATH, alive)
    target.create("smoke/.publishing/v0.0123456789abcdef.taken", _dead())
    target.create("smoke/.publishing/v2.0123456789abcdef.taken", alive)
    claim.sweep(target, "smoke/.publishing")
    assert target.names("smoke/.publishing") == ["v1.json", "v2.0123456789abcdef.taken"]


def test_a_living_claim_is_not_taken_over(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent())) as first:
        with pytest.raises(TakenError), claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), patience=0)):
            pytest.fail("held twice")
        first.check()
        with (
            claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), take_over=True)),
            pytest.raises(ImageError, match="took over this version"),
        ):
            first.check()
    assert target.names("smoke/.publishing") == []


def test_a_claim_that_failed_says_so_and_what_it_wrote(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    with (
        pytest.raises(KeyboardInterrupt),
        claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), files=["smoke/v1/a"])),
    ):
        raise KeyboardInterrupt
    data = target.read(PATH)
    assert data is not None
    assert claim.dead(data)
    assert claim.files_of(data) == ["smoke/v1/a"]
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), patience=0)):
        assert not claim.dead(target.read(PATH) or b"")
    # Where the version is listed, a failure leaves nothing half.
    target.write("smoke/v1/release.json", b"{}")
    with pytest.raises(KeyboardInterrupt), claim.held(target, "smoke", "v1", "", claim.Wish(Silent())):
        raise KeyboardInterrupt
    assert target.read(PATH) is None


@pytest.mark.parametrize("data", [b"", b"[]", b"{}", b"\xff"])
def test_what_nobody_wrote_is_nobodys_claim(data: bytes) -> None:
    assert claim.dead(data)
    assert claim.files_of(data) is None


@pytest.mark.parametrize("kind", ["directory", "storage"])
def test_no_empty_directory_of_claims_stays(kind: str, tmp_path: Path) -> None:
    target = open_target(str(tmp_path) if kind == "directory" else f"memory://{tmp_path}")
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent())):
        with claim.held(target, "smoke", "v2", "", claim.Wish(Silent())):
            assert target.names("smoke/.publishing") == ["v1.json", "v2.json"]
        target.write(f"smoke/v1/{layout.RELEASE}", b"{}")
        assert target.names("smoke/.publishing") == ["v1.json"]
    assert target.names("smoke/.publishing") == []
    if kind == "directory":
        assert target.names("smoke") == ["v1/"]


def test_a_directory_that_is_removed_before_the_claim_is_in_it_is_made_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fill, times = Directory._fill, iter(range(3))

    def removed(partial: Path, data: bytes) -> None:
        if next(times, None) is not None:
            partial.parent.rmdir()
        fill(partial, data)

    monkeypatch.setattr(Directory, "_fill", staticmethod(removed))
    with claim.held(open_target(str(tmp_path)), "smoke", "v1", "", claim.Wish(Silent())) as ours:
        ours.check()
    assert next(times, None) is None


def test_claims_that_begin_while_others_end_are_held(tmp_path: Path) -> None:
    """The end of each removes the directory that the others are about to use."""
    start = threading.Barrier(6)
    failed: list[BaseException] = []

    def publish(version: str) -> None:
        target = open_target(str(tmp_path))
        start.wait()
        try:
            for _ in range(10):
                with claim.held(target, "smoke", version, "", claim.Wish(Silent())) as ours:
                    ours.check()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=publish, args=(f"v{number}",)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    assert open_target(str(tmp_path)).names("smoke") == []
