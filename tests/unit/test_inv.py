"""The wrapper `inv`: what it installs for which task, and what it says meanwhile; with a fake venv, no pip, no apt."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
#: Says what it is called with; `-m pip` takes its time, and fails if asked to.
PYTHON = """\
#!/bin/sh
echo "$*" >>"$CALLS"
[ "$3" != pip ] && [ "$2" != pip ] || {
  echo $$ >"$CALLS.pid"; echo "Collecting the moon"; sleep "${TAKES:-0}"; exit "${FAILS:-0}"
}
"""


class Clone:
    """A clone whose .venv has the base set, as `inv` leaves it."""

    def __init__(self, top: Path) -> None:
        self.top = top
        self.calls = top.with_name(f"{top.name}.calls")
        self.logs = top.with_name(f"{top.name}.logs")
        self.logs.mkdir()
        self.stamp = top / ".venv/.roost-ready"
        self.stamp.mkdir(parents=True)
        (top / ".venv/bin").mkdir()
        (top / ".venv/lib" / Path("/usr/bin/python3").resolve().name).mkdir(parents=True)
        (top / ".venv/bin/python").write_text(PYTHON)
        (top / ".venv/bin/python").chmod(0o755)
        for name in ("inv", "pyproject.toml"):
            shutil.copy(PROJECT / name, top / name)
            shutil.copy(PROJECT / name, self.stamp / name)
        (self.stamp / "place").write_text(f"{top}\n")

    @property
    def environment(self) -> dict[str, str]:
        """What the script is run with: its logs are not left among those of the host."""
        return {**os.environ, "CALLS": str(self.calls), "TMPDIR": str(self.logs)}

    def run(self, *argv: str, code: int = 0, **more: str) -> tuple[list[str], str]:
        """Return the calls of the venv's python, and what was said."""
        calls = self.calls
        calls.write_text("")
        done = subprocess.run(
            [str(self.top / "inv"), *argv],
            env={**self.environment, **more},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == code, done.stderr
        return calls.read_text().splitlines(), done.stderr


@pytest.fixture
def clone(tmp_path: Path) -> Clone:
    top = tmp_path.resolve() / "clone"
    top.mkdir()
    return Clone(top)


def test_when_all_is_there_the_task_runs_and_nothing_is_said(clone: Clone) -> None:
    assert clone.run("build", "smoke") == (["-P -m roost build smoke"], "")


@pytest.mark.parametrize(
    ("typed", "seen"),
    [("./inv", "./inv"), ("sub/../inv", "sub/../inv"), ("{top}/inv", "-"), ("inv", "-"), ("bash inv", "-")],
)
def test_it_passes_on_how_it_was_called(clone: Clone, typed: str, seen: str) -> None:
    (clone.top / ".venv/bin/python").write_text('#!/bin/sh\necho "${ROOST_CALLED:--}"\n')
    (clone.top / "sub").mkdir()
    # A call from within another one is none of its own.
    environment = {**clone.environment, "PATH": f"{clone.top}:{os.environ['PATH']}", "ROOST_CALLED": "../inv"}
    argv = [*shlex.split(typed.format(top=shlex.quote(str(clone.top)))), "list"]
    done = subprocess.run(argv, cwd=clone.top, env=environment, capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.strip() == seen


def test_an_absolute_path_is_passed_on_where_no_shell_finds_it_by_name(clone: Clone) -> None:
    (clone.top / ".venv/bin/python").write_text('#!/bin/sh\necho "${ROOST_CALLED:--}"\n')
    done = subprocess.run(
        [clone.top / "inv", "list"],
        cwd="/",
        env=clone.environment,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    assert done.stdout.strip() == str(clone.top / "inv")


@pytest.mark.parametrize("task", ["test", "check-code"])
def test_the_tools_of_developers_come_with_their_tasks(clone: Clone, task: str) -> None:
    calls, _ = clone.run("build", "test")
    assert calls == ["-P -m roost build test"]
    calls, said = clone.run(task)
    assert calls[0].startswith("-m pip install") and calls[0].endswith(f"{clone.top}[all,dev]")
    assert calls[1] == f"-P -m roost {task}"
    assert "tools of developers" in said
    assert clone.run(task) == ([f"-P -m roost {task}"], "")
    assert clone.run("build", "smoke") == (["-P -m roost build smoke"], "")


def test_an_older_inv_left_no_place_and_is_kept(clone: Clone) -> None:
    (clone.stamp / "place").unlink()
    (clone.stamp / "inv").unlink()
    marker = clone.top / ".venv/marker"
    marker.touch()
    fake = clone.top / "bin"
    fake.mkdir()
    (fake / "dpkg-query").write_text("#!/bin/sh\nprintf installed\n")
    (fake / "dpkg-query").chmod(0o755)
    if shutil.which("apt-get") is None:
        pytest.skip("no apt-get here")
    calls, _ = clone.run("recipes", PATH=f"{fake}:{os.environ['PATH']}")
    assert calls == ["-P -m roost recipes"]
    assert marker.exists()


@pytest.mark.parametrize("change", ["pyproject", "moved"])
def test_what_changed_is_installed_over_what_is_there(clone: Clone, change: str) -> None:
    if change == "pyproject":
        (clone.top / "pyproject.toml").write_text("# another\n")
    else:
        (clone.stamp / "place").write_text("/somewhere/else\n")
    calls, _ = clone.run("recipes")
    assert [call.split()[-1] for call in calls] == [f"{clone.top}[all]", "recipes"]
    assert clone.run("recipes") == (["-P -m roost recipes"], "")


def test_a_failure_says_so_and_is_tried_again(clone: Clone) -> None:
    (clone.top / "pyproject.toml").write_text("# another\n")
    calls, said = clone.run("recipes", code=3, FAILS="7")
    assert len(calls) == 1
    assert "Collecting the moon" in said and "pip install failed (status 7)" in said
    (log,) = clone.logs.iterdir()
    assert f"its whole output: {log}\n" in said
    calls, _ = clone.run("recipes")
    assert len(calls) == 2


def test_it_is_not_silent_for_long(clone: Clone) -> None:
    (clone.top / "pyproject.toml").write_text("# another\n")
    _, said = clone.run("recipes", TAKES="11.5")
    assert "inv: pip install, 10 s: Collecting the moon\n" in said


def _runs(pid: int) -> bool:
    """Return whether a process runs: one that has ended may wait for long until the machine's init notices it."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGINT])
def test_one_that_is_stopped_leaves_no_log_and_no_command(clone: Clone, number: signal.Signals) -> None:
    (clone.top / "pyproject.toml").write_text("# another\n")
    # What runs the tests in the background may have them ignore SIGINT.
    argv = ["env", "--default-signal=INT", str(clone.top / "inv"), "recipes"]
    with subprocess.Popen(argv, env={**clone.environment, "TAKES": "10"}, stderr=subprocess.DEVNULL) as inv:
        ends = time.monotonic() + 30
        while not any(log.stat().st_size for log in clone.logs.iterdir()) and time.monotonic() < ends:
            time.sleep(0.05)
        pip = int(Path(f"{clone.calls}.pid").read_text())
        assert _runs(pip)
        inv.send_signal(number)
        assert inv.wait(5) == -number
    ends = time.monotonic() + 2
    while _runs(pip) and time.monotonic() < ends:
        time.sleep(0.05)
    assert not _runs(pip)
    assert not any(clone.logs.iterdir())


def test_a_clone_of_somebody_else(clone: Clone) -> None:
    if os.geteuid() == 0:
        pytest.skip("root may write everywhere")
    (clone.top / "pyproject.toml").write_text("# another\n")
    clone.top.chmod(0o555)
    try:
        _, said = clone.run("recipes", code=3)
    finally:
        clone.top.chmod(0o755)
    assert "cannot write to" in said
