"""The directory of a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import UsageError
from roost.run.place import Place, fit


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


def test_a_file_is_no_directory(tmp_path: Path) -> None:
    (tmp_path / "run").write_text("")
    with pytest.raises(UsageError, match="not a directory"):
        Place(tmp_path / "run").make()
