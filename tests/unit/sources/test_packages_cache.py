"""Downloaded packages that are broken: fetched again by themselves, and replaced in the cache for all."""

from __future__ import annotations

import hashlib
import os
import subprocess
from pathlib import Path

import pytest

from roost.errors import HostError, ToolError
from roost.sources import mmdebstrap as source
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import explained
from roost.store.cache import Cache
from tests.apt_repository import package
from tests.unit.sources.test_repositories import debian


@pytest.fixture
def wanted() -> Bootstrap:
    return Bootstrap(debian(), None, "busybox", (), Index((), (), 1), 1)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


def _package(folder: Path, name: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return package(folder, name, {"/opt/x": "x" * 5000})


def test_what_was_fetched_anew_replaces_the_broken_one(wanted: Bootstrap, cache: Cache, tmp_path: Path) -> None:
    shared = source._packages_cache(cache, wanted)
    good = _package(tmp_path / "archive", "hello")
    (shared / good.name).write_bytes(bytes(good.stat().st_size))
    os.utime(shared / good.name, (5, 5))
    with source._packages(cache, wanted) as (mine, _):
        assert (mine / good.name).read_bytes()[:1] == b"\0"
        (mine / good.name).write_bytes(good.read_bytes())
        os.utime(mine / good.name, (5, 5))
    assert (shared / good.name).read_bytes() == good.read_bytes()


@pytest.mark.parametrize("broken", [True, False])
def test_a_bootstrap_that_met_a_broken_package_is_tried_once_more(
    broken: bool, wanted: Bootstrap, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shared = source._packages_cache(cache, wanted)
    good = _package(shared, "good")
    bad = _package(shared, "bad")
    if broken:
        data = bad.read_bytes()
        bad.write_bytes(data[:-20] + bytes(20))
    tries = []

    def run(_wanted: Bootstrap, argv: list[str], _directories: list[Path], _log: Path) -> None:
        tries.append(argv)
        if len(tries) == 1:
            raise ToolError("cannot install bookworm", argv=["mmdebstrap"], returncode=1)

    monkeypatch.setattr(source, "_run", run)
    if broken:
        source._install(wanted, tmp_path, cache, tmp_path / "log")
        assert len(tries) == 2 and not bad.exists()
    else:
        with pytest.raises(ToolError):
            source._install(wanted, tmp_path, cache, tmp_path / "log")
        assert len(tries) == 1 and bad.exists()
    assert good.exists()


@pytest.mark.parametrize("there", ["good", "broken", "absent"])
def test_a_package_is_taken_from_the_cache_only_with_its_sum(there: str, tmp_path: Path) -> None:
    good = b"a package"
    fakes = {
        "apt-cache": f"echo Package: hello; echo Version: 1:2; echo Architecture: amd64;"
        f" echo SHA256: {hashlib.sha256(good).hexdigest()}",
        "apt-get": "echo fetched >>$FETCHED; printf 'a package' >hello_1%3a2_amd64.deb",
    }
    for name, text in fakes.items():
        (tmp_path / name).write_text(f"#!/bin/sh\n{text}\n")
        (tmp_path / name).chmod(0o755)
    archives = tmp_path / "root/var/cache/apt/archives"
    archives.mkdir(parents=True)
    file = archives / "hello_1%3a2_amd64.deb"
    if there != "absent":
        file.write_bytes(good if there == "good" else bytes(len(good)))
    fetched = tmp_path / "fetched"
    env = {
        "PATH": f"{tmp_path}:{os.environ['PATH']}",
        "ROOST_PACKAGES": "hello",
        "MMDEBSTRAP_APT_CONFIG": "",
        "FETCHED": str(fetched),
    }
    subprocess.run([str(source._hooks() / "download"), str(tmp_path / "root")], env=env, check=True)
    assert file.read_bytes() == good
    assert fetched.exists() is (there != "good")
    assert (tmp_path / "root/chosen").read_text() == f"{file.name}\n"


SAID = {
    "space": ("dpkg: error: cannot copy extracted data: failed to write (No space left on device)", "no space left"),
    "quota": ("E: Write error - write (122: Disk quota exceeded)", "quota"),
    "files": ("E: Could not open file - open (24: Too many open files)", "ulimit -n"),
    "size": ("dpkg-deb: error: failed to write: File too large", "ulimit -f"),
    "gpgv of apt-key": (
        "W: GPG error: http://h s InRelease: gpgv, gpgv2 or gpgv1 required for verification, but neither seems"
        " installed\nE: The repository 'http://h s InRelease' is not signed.",
        "nothing to verify signatures with",
    ),
    "gpgv of apt 3": (
        "W: OpenPGP signature verification failed: http://h s InRelease: Could not execute 'gpgv' to verify signature"
        " (is gnupg installed?)\nE: The repository 'http://h s InRelease' is not signed.",
        "apt-get install gpgv",
    ),
    "space, told as an index that is not signed": (
        "E: Write error - write (28: No space left on device)\nE: The repository 'http://h s InRelease' is not signed.",
        "no space left",
    ),
}


@pytest.mark.parametrize("name", SAID)
def test_why_mmdebstrap_failed(name: str, wanted: Bootstrap, tmp_path: Path) -> None:
    text, told = SAID[name]
    log = tmp_path / "log"
    log.write_text(text)
    failed = ToolError("cannot install bookworm", argv=["mmdebstrap"], returncode=1, log=log, tail=text)
    error = explained(failed, wanted)
    assert isinstance(error, HostError)
    assert told in str(error)
