"""Packages without compression: the same content, made once, with a sum of their own."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roost.host import checksum
from roost.recipe.debian import Debian
from roost.sources import debs, solver, uncompressed
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package, Selection
from roost.store import entries
from roost.store.cache import Cache
from tests.apt_repository import CREATED


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


def _package(directory: Path, name: str, kind: str) -> Path:
    """Return a package whose content is compressed in some way."""
    tree = directory / f"{name}.tree"
    for path, text in {
        "etc/odd": "x" * 1001,
        f"usr/{name}": name,
        "DEBIAN/control": f"Package: {name}\nVersion: 1.0\nArchitecture: all\nMaintainer: a\nDescription: a\n",
    }.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    made = directory / f"{name}_1.0_all.deb"
    subprocess.run(
        ["dpkg-deb", "--root-owner-group", f"-Z{kind}", "-b", tree, made],
        check=True, capture_output=True, env={"PATH": "/usr/bin:/bin", "SOURCE_DATE_EPOCH": str(CREATED)},
    )  # fmt: skip
    return made


def _parts(deb: Path) -> list[bytes]:
    """Return what dpkg reads of a package: control files, content, fields."""
    return [
        subprocess.run(["dpkg-deb", option, deb], check=True, capture_output=True).stdout
        for option in ("--ctrl-tarfile", "--fsys-tarfile", "--field")
    ]


def _wanted(*files: Path) -> Bootstrap:
    found = tuple(Package(path.name.split("_")[0], "1.0", "all", checksum.sha256(path)) for path in files)
    return Bootstrap(Debian(suite="bookworm"), None, "busybox", (), Index((), (), 1), None, (), Selection(found, None))


@pytest.mark.parametrize("kind", ["gzip", "xz", "zstd", "none"])
def test_the_content_stays_the_same(kind: str, tmp_path: Path) -> None:
    deb, plain = _package(tmp_path / "a", "hello", kind), tmp_path / "hello.deb"
    assert uncompressed.unpack(deb, plain, tmp_path / "log")
    assert _parts(plain) == _parts(deb)
    listed = subprocess.run(["ar", "t", plain], check=True, capture_output=True, text=True).stdout.split()
    assert listed[0] == "debian-binary" and listed[1].startswith("control.tar") and listed[2:] == ["data.tar"]
    assert debs.epoch([plain]) == debs.epoch([deb]) == CREATED
    assert plain.stat().st_mode & 0o777 == 0o644


def test_each_package_is_unpacked_once(cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made = [_package(tmp_path / "a", "hello", "xz"), _package(tmp_path / "a", "world", "gzip")]
    wanted = _wanted(*made)
    for path in made:
        (debs.shared_directory(cache, wanted) / path.name).write_bytes(path.read_bytes())
    with uncompressed.held(wanted, cache, tmp_path / "log") as found:
        assert [path.name for path in found] == [path.name for path in made]
        assert [_parts(path) for path in found] == [_parts(path) for path in made]
        assert {path.name for path in found[0].parent.iterdir()} == {*(path.name for path in found), "partial"}
        there = sorted((cache.root / uncompressed.DIRECTORY).iterdir())
        assert {path.name for path in there} == {
            f"{checksum.sha256(one)}-{checksum.sha256(two)}.deb" for one, two in zip(made, found, strict=True)
        }
        for path in there:
            path.unlink()
        assert _parts(found[0]) == _parts(made[0]), "what is collected meanwhile stays for who holds it"
    assert not list((cache.root / "work").iterdir())
    with uncompressed.held(wanted, cache, tmp_path / "log"):
        pass
    # Then neither the packages nor the archive are needed.
    for path in debs.shared_directory(cache, wanted).iterdir():
        path.unlink()

    def refuse(*_: object) -> bool:
        raise AssertionError("unpacked twice")

    monkeypatch.setattr(uncompressed, "unpack", refuse)
    with uncompressed.held(wanted, cache, tmp_path / "log") as found:
        assert [_parts(path) for path in found] == [_parts(path) for path in made]
    kept, strangers = entries.read(cache.root)
    assert [one.kind for one in kept] == ["uncompressed"] * 2 and not strangers


@pytest.mark.parametrize("there", ["zeros", "cut", "flipped", "empty", "a directory", "a link"])
def test_what_lost_its_sum_is_made_anew(there: str, cache: Cache, tmp_path: Path) -> None:
    made = _package(tmp_path / "a", "hello", "xz")
    wanted = _wanted(made)
    (debs.shared_directory(cache, wanted) / made.name).write_bytes(made.read_bytes())
    with uncompressed.held(wanted, cache, tmp_path / "log"):
        pass
    (path,) = (cache.root / uncompressed.DIRECTORY).iterdir()
    data = path.read_bytes()
    path.unlink()
    if there == "a directory":
        path.mkdir()
    elif there == "a link":
        path.symlink_to("/nowhere")
    else:
        middle = bytes([data[3000] ^ 1])
        texts = {
            "zeros": bytes(len(data)),
            "cut": data[:-1],
            "flipped": data[:3000] + middle + data[3001:],
            "empty": b"",
        }
        path.write_bytes(texts[there])
    with uncompressed.held(wanted, cache, tmp_path / "log") as found:
        assert found[0].read_bytes() == data
    assert [one.read_bytes() for one in (cache.root / uncompressed.DIRECTORY).iterdir()] == [data]


@pytest.mark.parametrize("wrong", ["not an archive", "cut", "no content", "a large member"])
def test_what_cannot_be_unpacked_stays_as_it_came(wrong: str, cache: Cache, tmp_path: Path) -> None:
    """Who installs it says what is wrong with it."""
    made = _package(tmp_path / "a", "hello", "xz")
    whole = made.read_bytes()
    large = whole[:116] + b"9999999999" + whole[126:]
    data = {"not an archive": b"x" * 200, "cut": whole[:-80], "no content": whole[:200], "a large member": large}[wrong]
    made.write_bytes(data)
    wanted = _wanted(made)
    (debs.shared_directory(cache, wanted) / made.name).write_bytes(data)
    with uncompressed.held(wanted, cache, tmp_path / "log") as found:
        assert found[0].read_bytes() == data
    assert not list((cache.root / uncompressed.DIRECTORY).iterdir())


def test_the_packages_come_from_the_archive_where_they_are_not_there(
    cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = [_package(tmp_path / "a", name, "xz") for name in ("hello", "world")]
    wanted = _wanted(*made)
    asked: list[str] = []

    def download(_wanted: Bootstrap, missing: list[Package], directory: Path, _log: Path) -> Path:
        asked.extend(one.name for one in missing)
        for one in missing:
            (directory / one.file).write_bytes((tmp_path / "a" / one.file).read_bytes())
        return directory

    monkeypatch.setattr(solver, "download", download)
    with uncompressed.held(wanted, cache, tmp_path / "log") as found:
        assert [_parts(path) for path in found] == [_parts(path) for path in made]
    assert asked == ["hello", "world"]
