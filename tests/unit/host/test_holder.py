"""Which command holds a lock, as far as the kernel tells."""

from __future__ import annotations

import fcntl
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from roost.host import holder

#: Takes a lock, shared or exclusive, and holds it until its input ends. Further arguments stand for a command line.
HOLD = """
import fcntl, sys
with open(sys.argv[1], "ab") as file:
    fcntl.flock(file, fcntl.LOCK_SH if sys.argv[2] == "shared" else fcntl.LOCK_EX)
    print(flush=True)
    sys.stdin.read()
"""


@contextmanager
def held(path: Path, how: str, *words: str) -> Iterator[None]:
    """Have another process hold a lock; its command line ends in `words`."""
    argv = [sys.executable, "-c", HOLD, str(path), how, *words]
    with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        yield
        process.communicate()


@pytest.mark.parametrize("how", ["shared", "exclusive"])
@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["-P", "-m", "roost", "run", "sim"], "inv run"),
        (["/opt/my venv/bin/inv", "--json", "build", "sim"], "inv build"),
        (["roost"], None),
        (["roost", "\x1b[31mrun"], None),
        (["vim", "notes"], None),
    ],
)
def test_the_command_that_holds_a_lock(how: str, words: list[str], told: str | None, tmp_path: Path) -> None:
    path = tmp_path / ".sim.lock"
    path.touch()
    with held(path, how, *words):
        assert holder.command(path) == told
    assert holder.command(path) is None


def test_who_waits_for_a_lock_does_not_hold_it(tmp_path: Path) -> None:
    path = tmp_path / ".sim.lock"
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        argv = [sys.executable, "-c", HOLD, str(path), "exclusive", "roost", "boot"]
        with subprocess.Popen(argv, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as waiting:
            # This process holds it, and is not another command.
            while "->" not in holder.LOCKS.read_text():
                assert waiting.poll() is None
            assert holder.command(path) is None
            fcntl.flock(file, fcntl.LOCK_UN)
            waiting.communicate()


def test_nothing_is_known_without_the_kernels_list(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / ".sim.lock"
    assert holder.command(path) is None
    path.touch()
    with held(path, "shared", "roost", "run"):
        monkeypatch.setattr(holder, "LOCKS", tmp_path / "none")
        assert holder.command(path) is None
