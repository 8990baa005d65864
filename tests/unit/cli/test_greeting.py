"""The first line: at once, on a terminal, of a long task; a terminal acts on none of its words."""

from __future__ import annotations

import json
import os
import pty
import select
import signal
import subprocess
import sys
from pathlib import Path

import pytest

import roost
from roost.cli import greeting
from roost.cli.main import ns

ENV = {"PYTHONPATH": str(Path(roost.__file__).parents[1]), "TERM": "xterm"}


def shown(*words: str, **environment: str) -> bytes:
    """Return what a call writes first to a terminal, or nothing when it ends without a word."""
    near, far = pty.openpty()
    kept = {name: value for name, value in os.environ.items() if name not in {"CI", "NO_COLOR"}}
    argv = [sys.executable, "-P", "-m", "roost", *words]
    with subprocess.Popen(
        argv, stdin=far, stdout=subprocess.DEVNULL, stderr=far, env={**kept, **ENV, **environment}
    ) as one:
        os.close(far)
        try:
            return os.read(near, 200) if select.select([near], [], [], 60)[0] else b""
        except OSError:
            return b""
        finally:
            one.kill()
            os.close(near)


def test_a_long_task_says_its_name_first() -> None:
    assert shown("build", "nosuch") == b"roost: build nosuch\r\n"


@pytest.mark.parametrize(
    ("words", "environment"),
    [
        (("build", "nosuch"), {"CI": "true"}),
        (("build", "nosuch"), {"TERM": "dumb"}),
        (("build", "--help"), {}),
        (("lint", "nosuch.sub"), {}),
    ],
)
def test_nobody_else_does(words: tuple[str, ...], environment: dict[str, str]) -> None:
    assert not shown(*words, **environment).startswith(b"roost: ")


def test_a_terminal_acts_on_no_word(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(greeting, "live", lambda: True)
    greeting.greet(["build", "\x1b[31mx"])
    greeting.greet(["build", "\u202ex"])
    greeting.greet(["build", "--json", "x", "--", "y"])
    greeting.greet([])
    greeting.greet(["--version"])
    assert capsys.readouterr().err == "roost: build\nroost: build\nroost: build x\n"


def test_it_loads_nothing_and_knows_the_tasks() -> None:
    code = (
        "import json, sys; before = set(sys.modules); import roost.cli.greeting\n"
        "print(json.dumps(sorted(set(sys.modules) - before)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], env={**os.environ, **ENV}, capture_output=True, text=True, check=True, timeout=60
    )
    # atexit and gc are parts of the interpreter.
    known = {"__future__", "atexit", "collections.abc", "gc"}
    assert {one for one in json.loads(done.stdout) if not one.startswith("roost")} <= known
    assert set(ns.task_names) >= greeting.LONG


#: Ctrl-C while the tasks are imported.
EARLY = """
import os, runpy, signal, sys
class Finder:
    def find_spec(name, *_):
        if name == "roost.cli.main":
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Finder)
runpy.run_module("roost", run_name="__main__", alter_sys=True)
"""


def test_ctrl_c_while_the_tasks_are_imported_has_no_traceback() -> None:
    argv = [sys.executable, "-P", "-c", EARLY, "recipes"]
    done = subprocess.run(argv, env={**os.environ, **ENV}, capture_output=True, text=True, check=False, timeout=60)
    assert (done.returncode, done.stdout, done.stderr) == (-signal.SIGINT, "", "")
