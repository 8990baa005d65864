"""Claims: of many that take a dead one over, one does, at whatever moment they come."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest

from roost.errors import ImageError
from roost.events import Silent
from roost.publish import claim, layout
from roost.publish.claim import TakenError
from roost.publish.targets.kinds import open_target

PATH = "smoke/.publishing/v1.json"


def _dead() -> bytes:
    return layout.json_bytes({**claim._own("", []), "pid": 2**22 + 1})


def test_of_many_that_take_over_a_dead_claim_one_does(tmp_path: Path) -> None:
    for number in range(20):
        url = str(tmp_path / str(number))
        open_target(url).create(PATH, _dead())
        start = threading.Barrier(8)
        told: list[bool] = []

        def take(url: str = url, start: threading.Barrier = start, told: list[bool] = told) -> None:
            target = open_target(url)
            there = target.read(PATH) or b""
            start.wait()
            told.append(claim._take_over(target, PATH, there, layout.json_bytes(claim._own("", []))))

        threads = [threading.Thread(target=take) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(told) == [False] * 7 + [True]
        assert open_target(url).names("smoke/.publishing") == ["v1.json"]


def test_a_taker_that_was_killed_stands_in_nobodys_way(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    dead = _dead()
    target.create(PATH, dead)
    ticket = f"smoke/.publishing/v1.{layout.sha256(dead)[:16]}.taken"
    target.create(ticket, _dead())
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), patience=5)) as ours:
        ours.check()
    assert target.names("smoke/.publishing") == []


def test_a_living_claim_is_not_taken_over(tmp_path: Path) -> None:
    target = open_target(str(tmp_path))
    with claim.held(target, "smoke", "v1", "", claim.Wish(Silent())) as first:
        with pytest.raises(TakenError), claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), patience=0)):
            pytest.fail("held twice")
        first.check()
        with (
            claim.held(target, "smoke", "v1", "", claim.Wish(Silent(), take_over=True)),
            pytest.raises(ImageError, match="took this version over"),
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
