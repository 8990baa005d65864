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
        ("lock = 1", "lock = 2", ["3:1: lock: this version of roost reads locks of version 1"]),
        ("lock = 1", 'lock = "1"', ["3:1: lock: expected a whole number, found the text '1': leave out the quotes"]),
        ("lock = 1", "lock = 2026-11-27", ["3:1: lock: expected a whole number, found a date or a time"]),
        ("lock = 1", "lock = ", ["3:8: not TOML: a value is missing or not valid; text goes in quotes"]),
        ("lock = 1", f"lock = {'9' * 5000}", [": the lock cannot be read: a number in it is too large"]),
        ("lock = 1", "lock", ["3:5: not TOML: a key without `= value`"]),
        ("lock = 1", "lock = 'x", [" not TOML: a quote that is not closed"]),
        ("lock = 1", "lock = 1 2", ["3:10: not TOML: something follows the value on its line"]),
        ("lock = 1", "lock = 1\nlock = 2", [" not TOML: a key that is given twice"]),
        ("lock = 1", "[lock", ["3:6: not TOML: a '[' that is not closed"]),
        ("lock = 1\n", "", [" the key 'lock' is missing"]),
        ("lock = 1", "lock = 1\nunknown = 2", ["4:1: unknown key 'unknown'"]),
        ("lock = 1", "lock = 1\nrequestd = []", ["4:1: unknown key 'requestd' (did you mean requested?)"]),
        ("requested = [", 'requested = "x"\n"x y" = [', ["7:1: requested: expected a list", "8:1: unknown key 'x y'"]),
        ('  "a",', "  1,", ["8:3: requested[0]: expected text, found the number 1: put it in quotes"]),
        ('{name = "a", version = "1:2+b~3"', '{name = "a", version = 3', ["15:16: packages[0].version: expected text"]),
        ('{name = "b"', '{name = "../b"', ["16:3: packages[1]: not a package's name, version, architecture or sha256"]),
        (
            f'sha256 = "{SUM}"}},\n]\ntools',
            'sha256 = "x"},\n]\ntools',
            ["16:59: packages[1].sha256: 'x' is not allowed"],
        ),
        ('"b", version', '"b", arch = "x", version', ["16:16: packages[1]: unknown key 'arch'"]),
        ('{name = "b", ', "{", ["16:3: packages[1]: the key 'name' is missing"]),
        ('  {name = "b"', '  3, {name = "b"', ["packages[1]: expected a table, found the number 3"]),
        (
            '"6.1"',
            "6.1",
            ["21:1: kernel.linux-image-6.1.0-1-amd64: expected text, found the number 6.1: put it in quotes"],
        ),
        (
            '= "Debian"',
            '= "De\\nbian"',
            ["24:1: host.system: 'De\\nbian' is not allowed here: expected one line of text"],
        ),
    ],
)
def test_anything_else_is_refused_with_its_place(before: str, after: str, told: list[str], tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    text = lockfile.text(LOCK)
    assert before in text
    path.write_text(text.replace(before, after, 1) if before != '= "Debian"' else text.replace(before, after))
    with pytest.raises(RecipeError) as caught:
        lockfile.read(path)
    assert caught.value.exit_code == 2
    lines = str(caught.value).splitlines()
    assert len(lines) == len(told), lines
    for line, words in zip(lines, told, strict=True):
        assert words in line and line.startswith(f"{path}:") and "inv lock NAME --update" in line
        assert "Input should" not in line and "String should" not in line


def test_an_entry_in_another_layout_is_placed_at_its_list(tmp_path: Path) -> None:
    path = tmp_path / "x.lock"
    path.write_text(f'lock = 1\nname = "x"\nroost = "1"\nsources = [{{name = 1, sha256 = "{SUM}"}}]\n')
    with pytest.raises(RecipeError, match=r"x\.lock:4:1: sources\[0\]\.name: expected text, found the number 1"):
        lockfile.read(path)


@pytest.mark.parametrize("data", [b"\xff\xfe", b"[" * 5000, b"a" * (5 << 20), b"lock = 1e999", b""])
def test_no_file_brings_it_down(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.lock").write_bytes(data)
    with pytest.raises(RoostError) as caught:
        lockfile.read(tmp_path / "x.lock")
    assert not any(words in str(caught.value) for words in ("codec", "recursion", "Field required", "Input should"))


def test_credentials_of_an_address_stay_out() -> None:
    assert lockfile.public("deb http://me:secret@h/debian bookworm main") == "deb http://h/debian bookworm main"
    assert lockfile.public("deb http://h/a@b bookworm main") == "deb http://h/a@b bookworm main"
