"""Secrets are created once, for one user, whoever else creates them at the same time."""

from __future__ import annotations

import os
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roost.host import secretfile


def test_one_file_for_all_that_create_it(tmp_path: Path) -> None:
    path = tmp_path / "state/key"
    with ThreadPoolExecutor(8) as pool:
        created = list(pool.map(lambda _: secretfile.create_once(path, lambda: os.urandom(32)), range(32)))
    assert created.count(True) == 1
    assert len(path.read_bytes()) == 32
    assert [one.name for one in path.parent.iterdir()] == ["key"]
    assert (stat.S_IMODE(path.stat().st_mode), stat.S_IMODE(path.parent.stat().st_mode)) == (0o600, 0o700)


@pytest.mark.parametrize("target", ["absent", "there"])
def test_a_link_is_neither_followed_nor_replaced(tmp_path: Path, target: str) -> None:
    (tmp_path / "there").write_bytes(b"mine")
    path = tmp_path / "key"
    path.symlink_to(tmp_path / target)
    assert not secretfile.create_once(path, lambda: b"secret")
    assert path.is_symlink()
    assert not (tmp_path / "absent").exists()
    assert (tmp_path / "there").read_bytes() == b"mine"


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def fails() -> bytes:
        raise ValueError("no entropy")

    with pytest.raises(ValueError, match="no entropy"):
        secretfile.create_once(tmp_path / "key", fails)
    assert list(tmp_path.iterdir()) == []
