"""The directory of a run."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from roost.errors import HostError, UsageError
from roost.run.place import Place, fit, write


@pytest.mark.parametrize("name", ["a", "io-1", "el9_geant4+x.2", "0", "a" * 200])
def test_names_that_fit(name: str) -> None:
    assert fit(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".hidden", "-x", "a/b", "a b", "a\n", "\x1b[31m", "ä", "$(x)", "a" * 201]
)
def test_names_that_do_not(name: str) -> None:
    assert not fit(name)


def test_two_runs_do_not_share_a_directory(tmp_path: Path) -> None:
    place = Place(tmp_path / "run")
    place.make()
    with place.lock(), pytest.raises(UsageError, match="another"), Place(tmp_path / "run").lock():
        pass
    with place.lock():
        pass


def test_a_file_is_not_a_directory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="not a directory"):
        Place(tmp_path / "run").make()


def test_a_file_that_the_host_has_no_room_for_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.json").write_text("old")

    def full(_descriptor: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(HostError, match=r"run\.json cannot be written: No space left") as caught:
        write(tmp_path / "run.json", b"new")
    assert "free" in (caught.value.problem.hint or "")
    assert [path.read_text() for path in tmp_path.iterdir()] == ["old"]
