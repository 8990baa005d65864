"""Jobs run here with `inv run --local`: what each comes to, and a run that is stopped half-way and goes on."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.images.calls import PROJECT, roost

pytestmark = pytest.mark.images


def _events(directory: Path) -> list[dict[str, object]]:
    try:
        lines = (directory / "state.jsonl").read_text().splitlines()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines]


def _ran(directory: Path) -> Counter[object]:
    """Return how often each job ended that had run."""
    return Counter(one["job"] for one in _events(directory) if one["event"] == "ended" and one["verdict"] != "held")


def _machines(parent: int) -> list[int]:
    """Return the QEMUs that a process has started."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            name, _, rest = status.read_text().rpartition(") ")
        except OSError:
            continue
        if "(qemu-system" in name and int(rest.split()[1]) == parent:
            found.append(int(status.parent.name))
    return found


def test_a_stopped_run_is_resumed_and_nothing_runs_twice(smoke: Path, tmp_path: Path) -> None:
    assert smoke.is_dir()
    lines = ["io,inputs,what"]
    for name, text in (("one", "1\n"), ("bad", "1 +\n"), ("two", "2\n"), ("three", "3\n")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "numbers.txt").write_text(text)
        lines.append(f"{name}.raw,{name}/,sum")
    lines.append("missing.raw,absent/,sum")
    (tmp_path / "jobs.csv").write_text("\n".join(lines) + "\n")
    out = tmp_path / "out"
    call = ["run", "smoke", "--jobs", str(tmp_path / "jobs.csv"), str(out), "--local", "2"]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "roost", *call],
        cwd=PROJECT,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as first:
        machines: list[int] = []
        until = time.monotonic() + 240
        while time.monotonic() < until and first.poll() is None and not (_ran(out) and machines):
            machines = _machines(first.pid)
            time.sleep(0.1)
        assert first.poll() is None and machines and _ran(out)
        second = roost(*call)
        assert second.code == 2 and "another inv run" in second.err
        begin = time.monotonic()
        # As Ctrl-C ends it; a shell lets what it starts in the background ignore that.
        first.send_signal(signal.SIGTERM)
        first.wait(30)
        taken = time.monotonic() - begin
        assert first.returncode == 143 and taken < 5, taken
        assert first.stderr is not None
        assert "missing: held" in first.stderr.read()
    assert not [one for one in machines if Path(f"/proc/{one}").exists()]
    cut = {one["job"] for one in _events(out) if one["event"] == "cut off"}
    assert cut and not cut & _ran(out).keys()

    resumed = roost("run", "--resume", str(out), "--json")
    assert resumed.code == 1, resumed.err
    assert all(str(one) in resumed.err for one in cut)
    answer = resumed.answer
    assert {one["name"]: one["verdict"] for one in answer["jobs"]} == {
        "one": "done", "bad": "failed", "two": "done", "three": "done", "missing": "held",
    }  # fmt: skip
    assert set(_ran(out).values()) == {1}
    assert answer["ok"] is False and answer["accelerator"] in {"kvm", "tcg"}
    for name, seen in (("one", "1\n"), ("two", "2\n"), ("three", "3\n")):
        assert (out / "results" / name / "output" / "result.txt").read_text() == seen
        assert json.loads((out / "results" / name / "status.json").read_text())["exit_code"] == 0
        assert "roost: job finished: exit 0" in (out / "logs" / f"{name}.log").read_text()
    again = roost("run", "--resume", str(out), "--json")
    assert again.code == 1 and set(_ran(out).values()) == {1}
