"""NAME.lock: what is written is read again, is sorted and holds no secret; anything else is refused with its place."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from roost.errors import RecipeError, RoostError
from roost.sources import lockfile
from roost.sources.lockfile import Lock, LockedPackage, LockedSource

SUM = "ab" * 32
LOCK = Lock(
    lock=1,
    name='x"\\y',
    roost="0.1.0",
    suite="bookworm",
    requested=["b", "a"],
    kernel={"linux-image-6.1.0-1-amd64": "6.1"},
    sources=[LockedSource(name="deb http://h/debian bookworm main", sha256=SUM)],
    packages=[LockedPackage(name=name, version="1:2+b~3", architecture="all", sha256=SUM) for name in ("a", "b")],
    host={"system": "Debian"},
)


def test_what_is_written_is_read_again(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    assert lockfile.read(path) is None
    lockfile.write(path, LOCK)
    found = lockfile.read(path)
    assert found is not None and found.selection() == LOCK.selection()
    assert lockfile.text(found) == path.read_text()
    assert tomllib.loads(path.read_text())["requested"] == ["a", "b"], "sorted"
    lines = path.read_text().splitlines()
    assert '  {name = "a", version = "1:2+b~3", architecture = "all", sha256 = "' + SUM + '"},' in lines


@pytest.mark.parametrize(
    ("before", "after", "told"),
    [
        ("lock = 1", "lock = 2", "x.lock:3:1: lock: .*version 1"),
        ("lock = 1", "lock = ", "x.lock:3:"),
        ("lock = 1", "lock = 1\nunknown = 2", "unknown"),
        ('version = "1:2+b~3"', "version = 3", r"x.lock:\d+:1: packages.0.version"),
        ('{name = "b"', '{name = "../b"', r"x.lock:\d+:1: packages.1.sha256: .*not a package"),
        (f'sha256 = "{SUM}"}},\n]\ntools', 'sha256 = "x"},\n]\ntools', "packages.1.sha256"),
    ],
)
def test_anything_else_is_refused_with_its_place(before: str, after: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    text = lockfile.text(LOCK)
    assert before in text
    path.write_text(text.replace(before, after))
    with pytest.raises(RecipeError, match=told) as caught:
        lockfile.read(path)
    assert caught.value.exit_code == 2 and "--update" in str(caught.value)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 5000, b"a" * (5 << 20), b"lock = 1e999", b""])
def test_no_file_brings_it_down(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_bytes(data)
    with pytest.raises(RoostError):
        lockfile.read(tmp_path / "x.lock")


def test_credentials_of_an_address_stay_out() -> None:
    assert lockfile.public("deb http://me:secret@h/debian bookworm main") == "deb http://h/debian bookworm main"
    assert lockfile.public("deb http://h/a@b bookworm main") == "deb http://h/a@b bookworm main"
