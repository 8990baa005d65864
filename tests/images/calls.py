"""Calls of roost's command line, as the terminal's user makes them."""

from __future__ import annotations

import functools
import json
import os
import shlex
import subprocess
import sys
import tarfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.host import paths
from roost.store import manifest

PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True)
class Ran:
    """What a call of roost left."""

    code: int
    out: str
    err: str

    @property
    def answer(self) -> Any:
        """The JSON object on standard output."""
        return json.loads(self.out)


def wrapper(project: Path) -> None:
    """Write `./inv` of a project of a user's own: it calls this checkout, and installs nothing."""
    call = f"PYTHONPATH={shlex.quote(str(PROJECT))} ROOST_ROOT=$PWD exec {sys.executable} -P -m roost"
    (project / "inv").write_text(f'#!/bin/sh\n{call} "$@"\n')
    (project / "inv").chmod(0o755)


def roost(*argv: str, cwd: Path = PROJECT, env: Mapping[str, str] | None = None, timeout: float = 800) -> Ran:
    """Run `python -m roost` as the terminal's user would."""
    done = subprocess.run(
        [sys.executable, "-P", "-m", "roost", *argv],
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=timeout,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def build(name: str, cwd: Path = PROJECT) -> Path:
    """Build an image and return its directory."""
    ran = roost("build", name, "--json", cwd=cwd)
    assert ran.code == 0, ran.err
    return Path(ran.answer["folder"])


@functools.cache
def busybox() -> bytes:
    """Return the static busybox that smoke is made of: the host need not have one."""
    record = manifest.read(build("smoke"))
    assert record is not None
    with tarfile.open(paths.cache_root() / "rootfs" / record.keys["rootfs"] / "tree.tar") as tree:
        member = tree.extractfile("./usr/bin/busybox")
        assert member is not None
        return member.read()
