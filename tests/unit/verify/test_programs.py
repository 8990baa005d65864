"""What the read-back says of programs, links to directories and names, on a guest made of a dictionary."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from typing import Any, cast

import pytest

from roost.customize import apply
from roost.disk import vfat
from roost.disk.measure import Entry
from roost.errors import ImageError
from roost.host.guestfs import Guest, Stat
from roost.recipe.model import Recipe
from roost.verify import programs, trees
from roost.verify.texts import Wrong
from tests.unit.program_lab import elf


class Dictionary:
    """A guest whose files are given: path to (mode, content); a link's content is its target."""

    def __init__(self, **files: tuple[int, bytes]) -> None:
        self.files = {path.replace("__", "/"): entry for path, entry in files.items()}

    def lstat(self, path: str) -> Stat | None:
        found = self.files.get(path)
        return None if found is None else Stat(found[0], 0, 0, len(found[1]))

    def stat(self, path: str) -> Stat | None:
        found = self.files.get(path)
        if found is not None and stat.S_ISLNK(found[0]):
            return self.stat(found[1].decode())
        return self.lstat(path)

    def read(self, path: str, size: int) -> bytes:
        mode, content = self.files[path]
        return self.read(content.decode(), size) if stat.S_ISLNK(mode) else content[:size]


def guest(**files: tuple[int, bytes]) -> Guest:
    return cast(Guest, Dictionary(**files))


def recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "seen",
            "os": {"debian": {"suite": "bookworm"}},
            "job": {"command": "/opt/run --now"},
            "disks": [{"name": "root", "partitions": [{"mount": "/", "free": 1 << 20}]}],
            **changes,
        }
    )


FILE, X = stat.S_IFREG | 0o644, stat.S_IFREG | 0o755
PYTHON = (X, b"\x7fELF")


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({}, "is not in the image"),
        ({"__opt__run": (stat.S_IFDIR | 0o755, b"")}, "is not a file"),
        ({"__opt__run": (FILE, b"#!/bin/sh\n")}, "cannot be executed"),
        ({"__opt__run": (X, b"#!/bin/sh\r\necho\r\n")}, "first line that ends in CR"),
        ({"__opt__run": (X, b"\xef\xbb\xbf#!/bin/sh\n")}, "byte order mark"),
        ({"__opt__run": (X, elf(183))}, "is a program for aarch64"),
        (
            {"__opt__run": (X, elf(loader="/lib/ld-musl-x86_64.so.1"))},
            "needs /lib/ld-musl-x86_64.so.1, which is not in",
        ),
        ({"__opt__run": (X, b"#!/usr/bin/env python3 -u\n")}, "has a first line that passes env the single word"),
        ({"__opt__run": (X, b"#!/usr/bin/python3\n")}, "needs /usr/bin/python3, which is not in the image"),
        ({"__opt__run": (X, b"#! /opt/py -u\n"), "__opt__py": (FILE, b"x")}, "needs /opt/py, which cannot be executed"),
        (
            {"__opt__run": (X, b"#!/usr/bin/env -S python3 -u\n"), "__usr__bin__env": PYTHON},
            "needs python3, which is not in the image",
        ),
    ],
)
def test_a_program_that_cannot_start(files: dict[str, tuple[int, bytes]], said: str) -> None:
    (found,) = programs.check(guest(**files), recipe())
    assert isinstance(found, Wrong)
    assert said in found
    assert found.key == ("job", "command")
    (found,) = programs.check(guest(**files), recipe(first_boot=["/opt/run"], job=None))
    assert isinstance(found, Wrong)
    assert found.key == ("first_boot", 0)


@pytest.mark.parametrize(
    ("files", "changes"),
    [
        ({"__opt__run": (X, b"#!/bin/sh\n"), "__bin__sh": PYTHON}, {}),
        ({"__opt__run": (X, b"\x7fELF\0\0\r\n")}, {}),
        ({"__opt__run": (X, elf())}, {}),
        ({"__opt__run": (X, elf(loader="/lib64/ld.so")), "/lib64/ld.so": PYTHON}, {}),
        ({"__opt__run": (X, b"echo hi\n")}, {}),
        ({"__opt__run": (stat.S_IFLNK | 0o777, b"/a"), "/a": (X, b"#!/b\n"), "/b": PYTHON}, {}),
        ({"__opt__run": (X, b"#!/usr/bin/env python3\n"), "__usr__bin__env": PYTHON, "/bin/python3": PYTHON}, {}),
        ({}, {"job": {"command": "cp /a /opt/run && /opt/run"}}),
        ({}, {"job": {"command": "./run"}}),
        ({}, {"job": {"command": "/opt/run || true"}}),
        ({"/bin/prepare": PYTHON}, {"first_boot": ["/bin/prepare"]}),
        ({}, {"cloud_init": {"user_data": {"runcmd": ["x"]}}}),
    ],
)
def test_a_program_that_may_start(files: dict[str, tuple[int, bytes]], changes: dict[str, Any]) -> None:
    assert list(programs.check(guest(**files), recipe(**changes))) == []


def test_a_directory_behind_a_link_of_the_tree_is_one() -> None:
    wanted = recipe(files=[{"path": "/lib", "directory": True}])
    tree = {"/lib": (stat.S_IFLNK | 0o777, b"/usr/lib"), "/usr/lib": (stat.S_IFDIR | 0o755, b"")}
    assert list(trees.files(guest(**tree), wanted)) == []
    del tree["/usr/lib"]
    (found,) = trees.files(guest(**tree), wanted)
    assert isinstance(found, Wrong)
    assert found.key == ("files", 0, "path")


def lay(path: Path, kind: bytes = tarfile.REGTYPE, target: str = "") -> None:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as made:
        info = tarfile.TarInfo("x")
        info.type, info.linkname, info.size = kind, target, 3 if kind == tarfile.REGTYPE else 0
        info.uid, info.gid, info.mode = os.getuid(), os.getgid(), 0o755
        made.addfile(info, io.BytesIO(b"new"))
    buffer.seek(0)
    with tarfile.open(fileobj=buffer) as overlay:
        apply._lay(overlay, overlay.getmembers()[0], path)


def test_a_file_does_not_take_a_directory_away(tmp_path: Path) -> None:
    """/lib is a link to usr/lib in a merged tree: a file in its place leaves no system."""
    (tmp_path / "usr").mkdir()
    (tmp_path / "lib").symlink_to("usr")
    (tmp_path / "file").write_text("old")
    for path, kind, said in (
        ("lib", tarfile.REGTYPE, "a link to a directory"),
        ("usr", tarfile.REGTYPE, "a directory in the tree"),
        ("usr", tarfile.SYMTYPE, "a directory in the tree"),
        ("file", tarfile.DIRTYPE, "not a directory"),
    ):
        with pytest.raises(apply.FailedError, match=said) as caught:
            lay(tmp_path / path, kind, "elsewhere")
        assert caught.value.key == ("files", str(tmp_path / path))
    assert (tmp_path / "lib").is_symlink()
    lay(tmp_path / "lib", tarfile.DIRTYPE)
    assert (tmp_path / "lib").is_symlink()
    lay(tmp_path / "lib", tarfile.SYMTYPE, "other")
    assert (tmp_path / "lib").readlink() == Path("other")
    lay(tmp_path / "file")
    assert (tmp_path / "file").read_text() == "new"


def entry(path: str, size: int = 1, kind: str = "f") -> Entry:
    return Entry(path.encode("utf-8", "surrogateescape"), kind, "1", 1, size, 0o644, 0, 0, 0)


@pytest.mark.parametrize(
    ("entries", "said"),
    [
        ([entry("a.txt"), entry("A.TXT")], "A.TXT and a.txt differ only in case"),
        ([entry("d", kind="d"), entry("d/x:y")], "vfat has no :"),
        ([entry("big", 1 << 32)], "4 GiB"),
        ([entry("dot.")], "drops the dot"),
        ([entry("\udcff")], "only UTF-8"),
    ],
)
def test_what_vfat_does_not_have_is_said_before_it_is_written(entries: list[Entry], said: str) -> None:
    with pytest.raises(ImageError, match=said):
        vfat._contents(entries)


def test_what_vfat_has_is_written() -> None:
    assert vfat._contents([entry("d", kind="d"), entry("d/A b"), entry("x", (1 << 32) - 1)]) == (
        ["d"],
        {"d": ["A b"], "": ["x"]},
    )
