"""A task with --json that a signal interrupts: one object on standard output, whoever reads it, and no wait."""

from __future__ import annotations

import fcntl
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[3]


def interrupted(number: signal.Signals, output: int, cwd: Path, *words: str) -> int:
    """Send a signal to a task that waits for its input; return its exit status."""
    argv = [sys.executable, "-P", "-m", "roost", "lint", "-", *words]
    env = {**os.environ, "ROOST_ROOT": str(PROJECT)}
    with subprocess.Popen(
        argv, stdin=subprocess.PIPE, stdout=output, stderr=subprocess.DEVNULL, cwd=cwd, env=env
    ) as task:
        try:
            _await_handlers(task.pid)
            task.send_signal(number)
            return task.wait(timeout=30)
        finally:
            task.kill()


def _await_handlers(pid: int) -> None:
    """Wait until roost has its own handler of SIGTERM, which Python itself leaves alone."""
    limit = time.monotonic() + 60
    while time.monotonic() < limit:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
        caught = next(int(line.split()[1], 16) for line in lines if line.startswith("SigCgt:"))
        if caught >> (signal.SIGTERM - 1) & 1:
            return
        time.sleep(0.02)
    raise AssertionError("no handler of SIGTERM")


@pytest.mark.parametrize(
    ("number", "what"),
    [(signal.SIGINT, "interrupted by Ctrl-C"), (signal.SIGTERM, "interrupted by signal 15 (SIGTERM)")],
)
def test_an_interruption_is_one_failure_object(number: signal.Signals, what: str, tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        assert interrupted(number, file.fileno(), tmp_path, "--json") == 128 + number
    problem = {"what": what, "file": None, "line": None, "column": None, "hint": None}
    error = {"problems": [problem], "log": None, "tail": ""}
    assert json.loads((tmp_path / "out").read_text()) == {"ok": False, "error": error}


def test_without_json_an_interruption_prints_nothing(tmp_path: Path) -> None:
    with (tmp_path / "out").open("wb") as file:
        assert interrupted(signal.SIGTERM, file.fileno(), tmp_path) == 143
    assert (tmp_path / "out").read_bytes() == b""


@pytest.mark.parametrize("reader", ["gone", "asleep"])
def test_no_reader_delays_the_end_of_an_interrupted_task(reader: str, tmp_path: Path) -> None:
    reading, writing = os.pipe()
    if reader == "gone":
        os.close(reading)
    else:
        os.write(writing, bytes(fcntl.fcntl(writing, fcntl.F_GETPIPE_SZ)))
    assert interrupted(signal.SIGTERM, writing, tmp_path, "--json") == 143
    os.close(writing)
    if reader == "asleep":
        os.close(reading)
