"""Copies of directories: holes stay holes, and what is refused is told in one line."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import RoostError
from roost.host import copies


def test_holes_stay_holes(tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    with (source / "root").open("wb") as file:
        file.write(b"begin")
        file.truncate(64 << 20)
    (source / "link").symlink_to("root")
    copies.tree(source, tmp_path / "target")
    copy = tmp_path / "target/root"
    assert copy.stat().st_size == 64 << 20 and copy.read_bytes()[:5] == b"begin"
    assert copy.stat().st_blocks * 512 < 1 << 20
    assert (tmp_path / "target/link").is_symlink()


def test_a_copy_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "source").mkdir()
    with pytest.raises(RoostError, match=r"cannot copy .*source"):
        copies.tree(tmp_path / "source", tmp_path / "gone/target")
