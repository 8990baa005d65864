"""The hook that takes out of a tree what differs from build to build, run on a small tree."""

from __future__ import annotations

import os
import subprocess
from itertools import chain
from pathlib import Path

import pytest

from roost.kernel.drivers import BESIDE, BUSES, FILESYSTEMS
from roost.sources import apt_root


@pytest.mark.parametrize("mode", [0o700, 0o755, 0o777])
def test_the_directory_of_apts_lists_tells_nothing_of_the_builders_umask(tmp_path: Path, mode: int) -> None:
    for name in ("var/lib/apt/lists/partial", "var/lib/dpkg", "var/log", "var/cache/apt", "usr", "etc/apt", "tmp"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "var/lib/dpkg/status").write_text(
        "Package: one\nVersion: 1\nArchitecture: all\nStatus: install ok installed\nMaintainer: a\nDescription: a\n"
    )
    given = tmp_path / "given"
    given.mkdir()
    (given / "selected").write_text("one 1\n")
    (given / "sources.list").write_text("deb http://a.example/debian bookworm main\n")
    (tmp_path / "etc/shadow").write_text("root:*:20000:0:99999:7:::\n")
    lists = tmp_path / "var/lib/apt/lists"
    (lists / "lock").touch()
    lists.chmod(mode)
    environment = {**os.environ, "ROOST_INITRD": "none", "ROOST_GIVEN": str(given), "SOURCE_DATE_EPOCH": "864000"}
    done = subprocess.run(
        [apt_root.hook("finish"), tmp_path], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert lists.stat().st_mode & 0o7777 == 0o755 and not list(lists.iterdir())
    assert (tmp_path / "etc/shadow").read_text() == "root:*:10:0:99999:7:::\n"
    assert (tmp_path / "etc/apt/sources.list").read_text() == (given / "sources.list").read_text()


def test_the_initrd_gets_every_driver_that_the_check_of_a_kernel_asks_for() -> None:
    text = apt_root.hook("finish").read_text()
    script = text[text.index("manual_add_modules") : text.index("# What these look for")]
    names = {name.replace("-", "_") for name in script.replace("\\\n", " ").split()[1:]}
    asked = {*chain.from_iterable((*BUSES.values(), *FILESYSTEMS.values(), *BESIDE.values()))}
    assert asked <= names, asked - names
