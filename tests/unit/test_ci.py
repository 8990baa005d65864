"""`.ci/run` with suites that pass, fail, recover and hang: what it ends with, and that it ends in its time."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from pathlib import Path
from signal import SIGHUP, SIGINT, SIGTERM, Signals

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
SUITES = ["inv test", "tests/publish -m slow", "fresh trixie", "tests/publish -m not slow", "tests/pool"]
#: What comes last, and is no suite: the cache is kept small.
LAST = "inv gc --delete"


def _project(directory: Path, **does: str) -> Path:
    """Write a project where each suite has but two seconds, and what some of them do; return its `.ci/run`."""
    text = RUN.read_text()
    text = re.sub(r"\b(800|1800)\b", "2", text).replace("deadline=5100", "deadline=8")
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
    """Run it in such a project; return its exit code and which suites it called. Its output is in the file `out`."""
    run = _project(directory, **does)
    env = {"PATH": os.environ["PATH"], "TMPDIR": str(directory)}
    with (directory / "out").open("wb") as out:
        done = subprocess.run([run], env=env, stdin=subprocess.DEVNULL, stdout=out, timeout=60, check=False)
    assert not list(directory.glob("tmp.*"))
    called = (directory / "called").read_text().splitlines()
    return done.returncode, called[:-1] if called[-1] == LAST else called


def _kinds(called: list[str]) -> list[str]:
    """Return the suites that were called, in the order of `SUITES`: after the first, two run at once in either lane."""
    words = [line for line in called if "--last-failed" not in line and "check-code" not in line]
    found = [suite for suite in SUITES for line in words if suite in line]
    assert len(found) == len(words)
    begun = [suite for line in words for suite in SUITES if suite in line]
    for lane in (SUITES[:1], SUITES[1::3], SUITES[2:4]):
        assert [suite for suite in begun if suite in lane] == [suite for suite in lane if suite in begun]
    assert begun[0] == SUITES[0]
    return found


def test_the_times_kept_leave_the_test_command_its_own() -> None:
    kept = [int(number) for number in re.findall(r"for_\w+=\D*?(\d+)", RUN.read_text())]
    (deadline,) = re.findall(r"deadline=(\d+)", RUN.read_text())
    assert len(kept) == 2 and int(deadline) - sum(kept) > 1200 and int(deadline) < 90 * 60


def test_all_pass(tmp_path: Path) -> None:
    code, called = _run(tmp_path)
    assert code == 0 and _kinds(called) == SUITES and len(called) == len(SUITES)


@pytest.mark.parametrize(("again", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 5", 1)])
def test_what_failed_is_tried_once_more_after_all(again: str, code: int, tmp_path: Path) -> None:
    ended, called = _run(tmp_path, slow="exit 1", publish="exit 1", pool="exit 1", again=again)
    assert ended == code and _kinds(called) == SUITES
    # Each by its directory, conftest.py leaves tests/pool out of a call for `tests`; and from what it noted itself.
    names = [re.search(r"cache_dir=\.pytest_cache/(\S+) .*--timeout=900 (.+)$", line) for line in called[5:]]
    assert [match and match.groups() for match in names] == [
        (name, f"{name} tests/publish" if name == "tests/images" else name)
        for name in ("tests/images", "tests/pool", "tests/publish")
    ]
    noted = [match[1] for line in called[:5] if (match := re.search(r"cache_dir=\.pytest_cache/(\S+)", line))]
    assert sorted(noted) == ["tests/images", "tests/pool", "tests/publish"]


@pytest.mark.parametrize(("second", "code"), [("exit 0", 0), ("exit 1", 1), ("exit 3", 1)])
def test_the_other_debian_is_tried_once_more_too(second: str, code: int, tmp_path: Path) -> None:
    ended, called = _run(tmp_path, trixie=f"[ -e first ] && {second}; touch first; exit 1")
    assert ended == code and [line for line in called if "fresh" in line] == [called[-1]] * 2
    assert len(called) == len(SUITES) + 1


def test_publication_runs_beside_the_pool_and_is_told_apart(tmp_path: Path) -> None:
    """Each waits for the other, at most as long as a suite may; the words of one do not mix with the other's."""
    met = "echo begin {0}; touch {0}.here; while [ ! -e {1}.here ]; do sleep 0.1; done; echo end {0}"
    code, called = _run(tmp_path, pool=met.format("pool", "publish"), publish=met.format("publish", "pool"))
    assert code == 0 and _kinds(called) == SUITES
    lines = (tmp_path / "out").read_text().splitlines()
    for name in ("pool", "publish"):
        begin = lines.index(f"begin {name}")
        assert lines[begin + 1] == f"end {name}" and f"tests/{name}" in lines[begin - 1]


@pytest.mark.parametrize(("code_is", "again", "code"), [(0, 0, 0), (0, 1, 1), (1, 0, 1)])
def test_the_test_command_has_to_pass_first(code_is: int, again: int, code: int, tmp_path: Path) -> None:
    ended, called = _run(tmp_path, main="exit 1", code=f"exit {code_is}", again=f"exit {again}")
    assert ended == code
    assert _kinds(called) == (SUITES[:1] if code else SUITES)


def test_the_cache_is_kept_small_at_the_end(tmp_path: Path) -> None:
    code, _ = _run(tmp_path, gc="exit 3")
    assert (tmp_path / "called").read_text().splitlines()[-1] == LAST
    assert code == 1


@pytest.mark.parametrize("suite", ["slow", "pool", "publish", "trixie"])
def test_a_suite_that_cannot_run_is_not_tried_again(suite: str, tmp_path: Path) -> None:
    code, called = _run(tmp_path, **{suite: "exit 4"})
    assert code == 1 and len(called) == len(SUITES)


def test_one_that_hangs_costs_those_after_it_nothing(tmp_path: Path) -> None:
    begin = time.monotonic()
    code, called = _run(tmp_path, slow="sleep 100", pool="exit 1")
    assert code == 1 and _kinds(called) == SUITES
    assert 4 < time.monotonic() - begin < 30


@pytest.mark.parametrize("suite", ["trixie", "publish"])
def test_one_that_hangs_beside_another_costs_those_after_it_nothing(suite: str, tmp_path: Path) -> None:
    begin = time.monotonic()
    code, called = _run(tmp_path, **{suite: "echo so far; sleep 100"}, pool="exit 1")
    assert code == 1 and {SUITES[1], SUITES[-1]} <= set(_kinds(called))
    assert "so far" in (tmp_path / "out").read_text()
    assert 4 < time.monotonic() - begin < 30


def test_a_test_command_that_hangs_ends_it(tmp_path: Path) -> None:
    code, called = _run(tmp_path, main="sleep 100")
    assert code == 1 and called == ["inv test"]


def _alive(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _all_have_ended(directory: Path, suites: int, begin: float) -> None:
    """Assert that the suites that left their process ids end within ten seconds of `begin`, and no file is left."""
    pids = [path.read_text().strip() for path in directory.glob("pid-*")]
    assert len(pids) == suites
    while any(map(_alive, pids)) and time.monotonic() - begin < 10:
        time.sleep(0.1)
    assert not list(filter(_alive, pids))
    assert not list(directory.glob("tmp.*"))


@pytest.mark.parametrize("signal", ["ctrl-c", "term"])
@pytest.mark.parametrize("suites", [["main"], ["pool", "publish"], ["slow", "trixie"]])
def test_what_ends_it_ends_all_of_it(suites: list[str], signal: str, tmp_path: Path) -> None:
    run = _project(tmp_path, **dict.fromkeys(suites, 'echo $$ >"pid-$does"; exec sleep 100'))
    run.write_text(run.read_text().replace("deadline=8", "deadline=100"))
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(run, [str(run)], {**os.environ, "TMPDIR": str(tmp_path)})
    end = time.monotonic() + 30
    while len(list(tmp_path.glob("pid-*"))) < len(suites) and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.2)
    begin = time.monotonic()
    if signal == "ctrl-c":
        os.write(terminal, b"\x03")
    else:
        os.kill(pid, SIGTERM)
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    assert status != 0 and time.monotonic() - begin < 10
    _all_have_ended(tmp_path, len(suites), begin)


@pytest.mark.parametrize("number", [SIGTERM, SIGHUP, SIGINT])
@pytest.mark.parametrize("suites", [["main"], ["pool", "publish"], ["slow", "trixie"]])
def test_a_signal_to_it_alone_ends_its_suites_without_a_terminal_too(
    suites: list[str], number: Signals, tmp_path: Path
) -> None:
    """`timeout` leads a process group of its own there, which no signal to the group of `.ci/run` reaches."""
    run = _project(tmp_path, **dict.fromkeys(suites, 'echo $$ >"pid-$does"; exec sleep 100'))
    run.write_text(run.read_text().replace("deadline=8", "deadline=100"))
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with subprocess.Popen([run], env=env, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL) as process:
        end = time.monotonic() + 30
        while len(list(tmp_path.glob("pid-*"))) < len(suites) and time.monotonic() < end:
            time.sleep(0.1)
        time.sleep(0.2)
        begin = time.monotonic()
        process.send_signal(number)
        assert process.wait(30) == 128 + number
    assert time.monotonic() - begin < 10
    _all_have_ended(tmp_path, len(suites), begin)


def test_a_suite_reads_what_the_run_reads(tmp_path: Path) -> None:
    run = _project(tmp_path, main="cat >read; exit 7")
    done = subprocess.run([run], env={**os.environ, "TMPDIR": str(tmp_path)}, input=b"words\n", timeout=60, check=False)
    assert done.returncode == 1 and (tmp_path / "read").read_bytes() == b"words\n"
