"""The packages that recipes share: whole files with the sum of the index, held in a directory of each bootstrap."""

from __future__ import annotations

import errno
import os
import shutil
from pathlib import Path

import pytest

from roost.errors import ImageError
from roost.host import checksum
from roost.recipe.debian import Debian
from roost.sources import debs, solver
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package, Selection
from roost.store.cache import Cache
from tests.apt_repository import CREATED, package


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    (tmp_path / "archive").mkdir()
    return tmp_path / "archive"


def _wanted(*files: Path) -> Bootstrap:
    found = tuple(Package(path.name.split("_")[0], "1.0", "all", checksum.sha256(path)) for path in files)
    return Bootstrap(Debian(suite="bookworm"), None, "busybox", (), Index((), (), 1), None, (), Selection(found, None))


def _put(kind: str, path: Path, good: bytes) -> None:
    """Leave something where the cache has a package."""
    flipped = good[:100] + bytes([good[100] ^ 1]) + good[101:]
    texts = {"whole": good, "zeros": bytes(len(good)), "cut": good[:-1], "flipped": flipped, "empty": b""}
    if kind in texts:
        path.write_bytes(texts[kind])
    elif kind == "a directory":
        path.mkdir()
        (path / "file").touch()
    elif kind == "a FIFO":
        os.mkfifo(path)
    elif kind == "a link":
        path.symlink_to("/nowhere")


@pytest.mark.parametrize(
    "there", ["whole", "zeros", "cut", "flipped", "empty", "a directory", "a FIFO", "a link", "absent"]
)
def test_a_package_is_taken_from_the_cache_only_with_its_sum(
    there: str, archive: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = package(archive, "hello", {"/hello": "x"})
    wanted = _wanted(good)
    shared = debs.shared_directory(cache, wanted) / good.name
    _put(there, shared, good.read_bytes())
    asked: list[list[Package]] = []

    def download(_wanted: Bootstrap, missing: list[Package], directory: Path, _log: Path) -> Path:
        asked.append(missing)
        (directory / good.name).write_bytes(good.read_bytes())
        return directory

    monkeypatch.setattr(solver, "download", download)
    with debs.held(wanted, cache, tmp_path / "log") as found:
        assert [path.name for path in found] == [good.name]
        shared.unlink()
        assert found[0].read_bytes() == good.read_bytes(), "what is collected meanwhile stays for who holds it"
    assert bool(asked) is (there != "whole")
    assert not list((cache.root / "work").iterdir())


def test_a_package_of_another_user_is_copied(
    archive: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Linux refuses links to files of others (protected_hardlinks), such as those of a build with sudo."""
    good = package(archive, "hello", {"/hello": "x"})
    wanted = _wanted(good)
    shutil.copy(good, debs.shared_directory(cache, wanted))

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(os, "link", refuse)
    with debs.held(wanted, cache, tmp_path / "log") as found:
        assert found[0].read_bytes() == good.read_bytes()


def test_another_package_than_the_index_says_is_refused(
    archive: Path, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = package(archive, "hello", {"/hello": "x"})

    def download(_wanted: Bootstrap, _missing: list[Package], directory: Path, _log: Path) -> Path:
        (directory / good.name).write_bytes(b"another")
        return directory

    monkeypatch.setattr(solver, "download", download)
    wanted = _wanted(good)
    with (
        pytest.raises(ImageError, match="does not match the archive's index"),
        debs.held(wanted, cache, tmp_path / "l"),
    ):
        pass
    assert not list(debs.shared_directory(cache, wanted).iterdir())


def test_the_time_of_packages_is_that_of_the_newest(archive: Path, tmp_path: Path) -> None:
    one = package(archive, "one", {"/one": "x"})
    assert debs.epoch([one]) == CREATED
    data = bytearray(one.read_bytes())
    data[24:36] = str(CREATED + 5).encode().ljust(12)
    (tmp_path / "newer").write_bytes(data)
    data[24:36] = b"99999999999 "
    (tmp_path / "absurd").write_bytes(data)
    (tmp_path / "short").write_bytes(b"!<arch>\n")
    assert debs.epoch([one, tmp_path / "newer", tmp_path / "absurd", tmp_path / "short"]) == CREATED + 5
