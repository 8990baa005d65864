"""Tab completion, by the program's own answers and in a real bash."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
import select
import struct
import subprocess
import sys
import termios
import time
from pathlib import Path

import pytest

from roost.cli import completion
from roost.cli.main import ns
from roost.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes/base").mkdir(parents=True)
    for name in (
        "recipes/sim.yaml",
        "recipes/other.yaml",
        "recipes/note.txt",
        "recipes/base/one.yaml",
        "pyproject.toml",
    ):
        (tmp_path / name).write_text("")
    for version in ("1", "2", "half"):
        (tmp_path / "srv/sim" / version).mkdir(parents=True)
        if version != "half":
            (tmp_path / "srv/sim" / version / "release.json").write_text("{}")
    (tmp_path / "build/sim").mkdir(parents=True)
    (tmp_path / "build/sim/published.json").write_text(json.dumps({"url": str(tmp_path / "srv")}))
    program = tmp_path / "inv"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -P -m roost "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.setenv("PYTHONPATH", str(Path(completion.__file__).parents[2]))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("-- build ''", {"other", "sim"}),
        ("-- build s", {"other", "sim"}),
        ("-- boot sim --hypervisor ''", {"kvm", "xen"}),
        ("-- boot --accel t", {"auto", "kvm", "tcg"}),
        ("-- submit sim --transfer ''", {"files", "shared"}),
        ("-- boot sim --hypervisor=x", {"--hypervisor=kvm", "--hypervisor=xen"}),
        ("-- diff sim ''", {"other", "sim"}),
        ("-- packages sim@ --from srv", set()),
        ("-- packages --from srv sim@", {"sim@1", "sim@2"}),
        ("-- packages --from=srv sim@2", {"sim@1", "sim@2"}),
        ("-- gc srv --keep sim@", {"sim@1", "sim@2"}),
        ("-- diff sim@", {"sim@1", "sim@2"}),
        ("-- diff other@", set()),
        ("-- packages --from srv ../sim@", set()),
        ("-- packages --from s3://x/y sim@", set()),
        ("-- build sim --set ''", set()),
        ("-- lint ''", set()),
        ("-- build 'unfinished", set()),
    ],
)
def test_words(words: str, found: set[str], project: Path) -> None:
    assert set(completion.candidates(ns, words)) == found


def test_tasks_and_flags(project: Path) -> None:
    assert {"help", "build", "check-code"} <= set(completion.candidates(ns, "-- b"))
    assert set(completion.candidates(ns, "-- help ''")) >= {"build"}
    flags = completion.candidates(ns, "-- build sim --")
    assert {"--force", "--json", "--set"} <= set(flags)
    assert "--name" not in flags


def test_a_shell_that_is_not_known() -> None:
    with pytest.raises(UsageError, match="no completion for the shell 'tcsh'"):
        completion.script("tcsh")


class Typed:
    """A bash on a terminal of its own, as a person has it."""

    def __init__(self) -> None:
        argv = ["bash", "--norc", "--noprofile", "-i"]
        self.near, far = pty.openpty()
        fcntl.ioctl(far, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 200, 0, 0))
        env = {**os.environ, "PS1": "> ", "TERM": "xterm", "HISTFILE": "", "HOME": str(Path.cwd())}
        self.process = subprocess.Popen(
            argv, stdin=far, stdout=far, stderr=far, env=env, start_new_session=True, close_fds=True
        )
        os.close(far)
        self.seen = ""

    def type(self, text: str, until: str, seconds: float = 60) -> None:
        """Type, and wait until the terminal has shown something."""
        self.seen = ""
        os.write(self.near, text.encode())
        end = time.monotonic() + seconds
        while until not in self.seen:
            assert time.monotonic() < end, (text, until, self.seen)
            if select.select([self.near], [], [], 0.2)[0]:
                data = os.read(self.near, 65536).decode("utf-8", "replace")
                self.seen += re.sub(r"\x1b\[[0-9;?=>]*[A-Za-z]|\x1b[()=>][0-9A-B]?|[\b\r]", "", data)

    def close(self) -> None:
        self.process.kill()
        self.process.wait(10)
        os.close(self.near)


def test_a_real_bash_completes(project: Path) -> None:
    """By the line that the documentation names, with the Tab key."""
    typed = Typed()
    try:
        typed.type("echo be''gun\n", "begun")
        typed.type("source <(./inv --print-completion-script bash); echo re''ady\n", "ready")
        for text, shown in (
            ("./inv build si", "sim"),
            ("./inv boot sim --hyp", "--hypervisor"),
            ("./inv boot sim --hypervisor=x", "xen"),
            ("./inv packages --from srv sim@2", "sim@2 "),
        ):
            typed.type(f"{text}\t", shown)
            typed.type("\x15echo ne''xt\n", "next")
    finally:
        typed.close()
