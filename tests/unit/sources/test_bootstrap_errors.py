"""Why mmdebstrap or apt failed: told by what they said last."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import HostError, ImageError, ToolError
from roost.sources.archive import Index
from roost.sources.bootstrap import Bootstrap
from roost.sources.bootstrap_errors import explained
from tests.unit.sources.test_repositories import debian


@pytest.fixture
def wanted() -> Bootstrap:
    return Bootstrap(debian(), None, "busybox", (), Index((), (), 1), 1)


SAID = {
    "space": ("dpkg: error: cannot copy extracted data: failed to write (No space left on device)", "no space left"),
    "quota": ("E: Write error - write (122: Disk quota exceeded)", "quota"),
    "files": ("E: Could not open file - open (24: Too many open files)", "ulimit -n"),
    "size": ("dpkg-deb: error: failed to write: File too large", "ulimit -f"),
    "gpgv of apt-key": (
        "W: GPG error: http://h s InRelease: gpgv, gpgv2 or gpgv1 required for verification, but neither seems"
        " installed\nE: The repository 'http://h s InRelease' is not signed.",
        "cannot verify signatures",
    ),
    "gpgv of apt 3": (
        "W: OpenPGP signature verification failed: http://h s InRelease: Could not execute 'gpgv' to verify signature"
        " (is gnupg installed?)\nE: The repository 'http://h s InRelease' is not signed.",
        "apt-get install gpgv",
    ),
    "not start another process": ("/var/lib/dpkg/info/x.postinst: 3: Cannot fork", "ROOST_RUN_PROCESSES"),
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


def test_a_script_that_runs_wild_is_the_recipes(wanted: Bootstrap, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("Setting up x\nE: roost: stopped: more than 2048 processes at once (ROOST_RUN_PROCESSES)\n")
    error = explained(ToolError("cannot install bookworm", argv=["mmdebstrap"], returncode=1, log=log), wanted)
    assert isinstance(error, ImageError)
    assert "its packages take more than 2048 processes at once (ROOST_RUN_PROCESSES)" in str(error)


def test_a_package_that_went_from_the_archive_is_named(wanted: Bootstrap, tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_text("E: Failed to fetch http://h/pool/main/d/dash/dash_1%3a2_amd64.deb  404  Not Found [IP: ::1 80]\n")
    error = explained(ToolError("cannot install", argv=["apt-get"], returncode=100, log=log), wanted)
    assert isinstance(error, ImageError)
    assert "no longer has dash_1%3a2_amd64.deb" in str(error)
