"""A directory of saved machines: whole machines only, those that were used last, and one command at a time."""

from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from roost.host import saved_machines


def test_a_machine_has_its_name_once_it_is_complete(tmp_path: Path) -> None:
    place = tmp_path / "machines/one"
    with saved_machines.saving(place) as directory:
        (directory / "state").touch()
        assert not place.exists()
        with pytest.raises(saved_machines.BusyError), saved_machines.saving(tmp_path / "machines/two"):
            pass
    assert [file.name for file in place.iterdir()] == ["state"]
    assert [file.name for file in place.parent.iterdir()] == ["one"]


def test_a_save_that_fails_leaves_nothing(tmp_path: Path) -> None:
    place = tmp_path / "machines/one"
    with pytest.raises(OSError, match="full"), saved_machines.saving(place) as directory:
        (directory / "state").touch()
        raise OSError(28, "full")
    assert not list(place.parent.iterdir())


def test_a_machine_that_failed_is_given_up_for_an_hour(tmp_path: Path) -> None:
    place = tmp_path / "machines/one"
    assert not saved_machines.given_up(place)
    with saved_machines.saving(place):
        pass
    saved_machines.give_up(place)
    assert saved_machines.given_up(place)
    assert not place.exists()
    before = time.time() - 3601
    os.utime(place.with_suffix(".unusable"), (before, before))
    assert not saved_machines.given_up(place)


def test_a_few_machines_are_kept_those_that_were_used_last(tmp_path: Path) -> None:
    for number in range(saved_machines.KEPT + 2):
        machine = tmp_path / str(number)
        machine.mkdir()
        (machine / "state").touch()
        os.utime(machine, (number, number))
    for name, when in (("old.unusable", 1.0), ("new.unusable", time.time())):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (when, when))
    with saved_machines.saving(tmp_path / "last"):
        (tmp_path / ".roost-machine-0123456789abcdef").mkdir()
    assert {path.name for path in tmp_path.iterdir()} == {
        *(str(number) for number in range(3, saved_machines.KEPT + 2)),
        *("last", "new.unusable", ".roost-machine-0123456789abcdef"),
    }
