"""`.ci/run` with suites that pass, fail, recover and hang: what it ends with, and that it ends in its time."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from pathlib import Path

import pytest

RUN = Path(__file__).parents[2] / ".ci/run"
#: Notes its words; then does what the file named like its suite says.
FAKE = """\
#!/bin/bash
words="${0##*/} $*"
echo "$words" >>called
case $words in
  *--last-failed*) does=again ;;
  "inv test") does=main ;;
  *check-code*) does=code ;;
  *gc*) does=gc ;;
  *images*) does=slow ;;
  *publish*) does=publish ;;
  *pool*) does=pool ;;
  *) does=trixie ;;
esac
[ ! -e "$does" ] || . "./$does"
"""
SUITES = ["inv test", "fresh trixie", "tests/images -m slow", "tests/publish", "tests/pool"]
#: What comes last, and is no suite: the cache is kept small.
LAST = "inv gc --delete"


def _project(directory: Path, **does: str) -> Path:
    """Write a project where each suite has but two seconds, and what some of them do; return its `.ci/run`."""
    text = RUN.read_text()
    text = re.sub(r"\b(540|480|1500|600)\b", "2", text).replace("deadline=5100", "deadline=10")
    # One that every Debian has.
    text, found = re.subn(r"(?ms)^test_packages=\(.*?^\)", "test_packages=(dpkg)", text)
    assert found == 1
    for name, content in {".ci/run": text, ".ci/fresh": FAKE, "inv": FAKE, ".venv/bin/python": FAKE}.items():
        path = directory / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)
        path.chmod(0o755)
    for name, what in does.items():
        (directory / name).write_text(what)
    return directory / ".ci/run"


def _run(directory: Path, **does: str) -> tuple[int, list[str]]:
    """Run it in such a project; return its exit code and which suites it called."""
    run = _project(directory, **does)
    env = {"PATH": os.environ["PATH"]}
    done = subprocess.run([run], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, timeout=60, check=False)
    called = (directory / "called").read_text().splitlines()
    return done.returncode, called[:-1] if called[-1] == LAST else called


def _kinds(called: list[str]) -> list[str]:
    return [suite for line in called for suite in SUITES if suite in line and "--last-failed" not in line]


def test_the_times_kept_leave_the_test_command_its_own() -> None:
    kept = [int(number) for number in re.findall(r"for_\w+=\D*?(\d+)", RUN.read_text())]
    (deadline,) = re.findall(r"deadline=(\d+)", RUN.read_text())
    assert len(kept) == 4 and int(deadline) - sum(kept) > 1200 and int(deadline) < 90 * 60


def test_all_pass(tmp_path: Path) -> None:
    code, called = _run(tmp_path)
    assert code == 0 and _kinds(called) == SUITES and len(called) == len(SUITES)


@pytest.mark.parametrize(("again", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 5", 1)])
def test_what_failed_is_tried_once_more_after_all(again: str, code: int, tmp_path: Path) -> None:
    ended, called = _run(tmp_path, slow="exit 1", pool="exit 1", again=again)
    assert ended == code and _kinds(called) == SUITES
    # By its directory: conftest.py leaves tests/pool out of a call for `tests`.
    assert "--last-failed" in called[-1] and called[-1].endswith("tests/images tests/publish tests/pool")
    assert len(called) == len(SUITES) + 1


@pytest.mark.parametrize(("code_is", "again", "code"), [(0, 0, 0), (0, 1, 1), (1, 0, 1)])
def test_the_test_command_has_to_pass_first(code_is: int, again: int, code: int, tmp_path: Path) -> None:
    ended, called = _run(tmp_path, main="exit 1", code=f"exit {code_is}", again=f"exit {again}")
    assert ended == code
    assert _kinds(called) == (SUITES[:1] if code else SUITES)


def test_the_cache_is_kept_small_at_the_end(tmp_path: Path) -> None:
    code, _ = _run(tmp_path, gc="exit 3")
    assert (tmp_path / "called").read_text().splitlines()[-1] == LAST
    assert code == 1


def test_a_suite_that_cannot_run_is_not_tried_again(tmp_path: Path) -> None:
    code, called = _run(tmp_path, publish="exit 4")
    assert code == 1 and len(called) == len(SUITES)


def test_one_that_hangs_costs_those_after_it_nothing(tmp_path: Path) -> None:
    begin = time.monotonic()
    code, called = _run(tmp_path, slow="sleep 100", pool="exit 1")
    assert code == 1 and _kinds(called) == SUITES
    assert 4 < time.monotonic() - begin < 30


def test_a_test_command_that_hangs_ends_it(tmp_path: Path) -> None:
    code, called = _run(tmp_path, main="sleep 100")
    assert code == 1 and called == ["inv test"]


def test_ctrl_c_ends_it(tmp_path: Path) -> None:
    run = _project(tmp_path, main="sleep 100")
    run.write_text(run.read_text().replace("deadline=10", "deadline=100"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execv(run, [str(run)])
    end = time.monotonic() + 30
    while not (tmp_path / "called").exists() and time.monotonic() < end:
        time.sleep(0.1)
    begin = time.monotonic()
    os.write(terminal, b"\x03")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status != 0 and time.monotonic() - begin < 10
