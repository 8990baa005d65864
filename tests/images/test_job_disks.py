"""A job's own disk, all the way: made from a file of jobs, used by a real guest, collected."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.images.calls import roost

pytestmark = pytest.mark.images


def _jobs(directory: Path, count: int) -> Path:
    """Write a file of jobs, each with numbers of its own to add up."""
    lines = ["io,inputs"]
    for number in range(count):
        (directory / f"in-{number}").mkdir()
        (directory / f"in-{number}" / "numbers.txt").write_text(f"{number}\n100\n")
        lines.append(f"io-{number}.raw,in-{number}/")
    (directory / "jobs.csv").write_text("\n".join(lines) + "\n")
    return directory / "jobs.csv"


def test_a_hundred_disks_one_guest_and_what_it_computed(smoke: Path, qemu: Callable[..., str], tmp_path: Path) -> None:
    work = tmp_path / "jobs"
    work.mkdir()
    made = roost("io", "smoke", "--jobs", str(_jobs(work, 100)), "--json")
    assert made.code == 0, made.err
    files = made.answer["files"]
    assert [Path(file["path"]).name for file in files] == [f"io-{number}.raw" for number in range(100)]
    # 27 ms each were measured; a virtual machine for each would take 3 s.
    assert made.answer["seconds"] < 60

    back = tmp_path / "io-back.raw"
    console = qemu(smoke / "root.qcow2", work / "io-7.raw", **{"io-7": back})
    assert "roost: job finished: exit 0" in console
    # What was submitted stays; what came back has the result, also as qcow2.
    subprocess.run(["qemu-img", "convert", "-O", "qcow2", "-c", back, tmp_path / "io-8.qcow2"], check=True)
    out = tmp_path / "out"
    collected = roost("collect", str(back), str(tmp_path / "io-8.qcow2"), str(work / "io-7.raw"), str(out), "--json")
    assert collected.code == 1, collected.err
    answer = collected.answer
    assert answer["counts"] == {"done": 2, "never started": 1}
    for name in ("io-back", "io-8"):
        assert (out / name / "output/result.txt").read_text() == "107\n"
        assert "the result is 107" in (out / name / "job.log").read_text()
        assert json.loads((out / name / "status.json").read_text())["exit_code"] == 0
    assert list((out / "io-7" / "output").iterdir()) == []
    (tmp_path / "cut.raw").write_bytes(back.read_bytes()[: 5 << 20])
    (tmp_path / "empty.raw").touch()
    broken = roost("collect", str(tmp_path / "cut.raw"), str(tmp_path / "empty.raw"), str(out), "--json")
    assert [one["verdict"] for one in broken.answer["disks"]] == ["unreadable", "unreadable"]
