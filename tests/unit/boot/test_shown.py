"""What a person reads of a test boot: the failed job's own reason, and the console while it runs."""

from __future__ import annotations

import io
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roost.boot import drive, follow, outcome
from roost.boot.console import Console
from roost.boot.drive import where
from roost.boot.run import last_time
from roost.boot.session import Session
from roost.boot.verdict import Verdict, judge
from roost.boot.waits import Wait
from roost.boot.watch import BootPlan
from roost.cli import show
from roost.verify.evidence import StoppedDisk
from tests.unit.boot.test_integrity import make
from tests.unit.boot.test_report import result
from tests.unit.boot.test_verdict import DONE, INIT, JOB, KERNEL, recorded

SHUTDOWN = "".join(f"[  OK  ] Stopped target {number}.\n" for number in range(60))


def test_a_failed_jobs_reason_is_what_is_printed(tmp_path: Path) -> None:
    failed = result(tmp_path, Verdict(False, "job", "job-failed", "the job ended with exit status 7"))
    evidence = replace(failed.evidence, job_log=("reading run.cfg", "error: no such key 'scale'"))
    text = show.boot(replace(failed, evidence=evidence, console=SHUTDOWN))
    assert "exit status 7" in text
    assert "error: no such key 'scale'" in text
    assert "Stopped target" not in text
    assert "kvm/serial.log" in text


def test_another_failure_shows_the_console_and_notes_are_shown(tmp_path: Path) -> None:
    verdict = Verdict(False, "kernel", "panic", "Kernel panic - not syncing: x", ("worth knowing",))
    text = show.boot(result(tmp_path, verdict))
    assert "Kernel panic" in text
    assert "said" in text
    assert "note: worth knowing" in text
    passed = replace(result(tmp_path, Verdict(True, "power-off", None, "did its job", ("init took 356 s",))))
    assert "note: init took 356 s" in show.boot(passed)


def test_the_verdict_tells_why_the_job_was_not_run_and_what_was_waited_for(tmp_path: Path) -> None:
    one = result(tmp_path, Verdict(False, "job", "job-failed", "x"))
    status = {"state": "finished", "exit_code": 1, "not_ready": "cloud-init failed: exit 1\x1b[2J"}
    answer = replace(one, evidence=replace(one.evidence, status=status, waits=(Wait("a.service", 31.0),))).to_json()
    assert answer["not_ready"] == "cloud-init failed: exit 1"
    assert answer["waits"] == [{"what": "a.service", "seconds": 31.0}]
    assert one.to_json()["not_ready"] is None


def test_the_limit_in_force_is_told(tmp_path: Path) -> None:
    limit: dict[str, Any] = {"limit": 224.4, "limited_by": "boot_test.timeout 60 s x 3.7"}
    hung = recorded(JOB, stop="timeout", ended=226.2, **limit)
    assert judge(hung).detail == "the job never ended; no end after 226 s (limit: boot_test.timeout 60 s x 3.7)"
    starved = judge(replace(hung, ended=301.0, starved=76.1)).detail
    assert starved.endswith("x 3.7; for 76 s the host had no core for it)")
    one = result(tmp_path, Verdict(False, "job", "job-timeout", "x"))
    assert replace(one, evidence=hung).to_json()["limit"] == 224.4
    assert one.to_json()["limit"] is None


def test_a_silent_guest_is_told_of_while_it_is_waited_for() -> None:
    console = Console()
    console.feed((JOB + "step 1\n").encode(), 1.0)
    nothing: Any = None
    driven = drive._Drive(Session(None, console, Console()), BootPlan("job", 60.0, 3.74), nothing, nothing, None)
    assert driven._doing(5.0) == "job: step 1"
    assert driven._doing(71.0) == "job: no output for 70 s (limit: 224 s in all): step 1"


def test_the_last_lines_of_the_job_on_the_console() -> None:
    console = Console()
    console.feed((JOB + "".join(f"line {number}\n" for number in range(100))).encode(), 1.0)
    console.feed(f"[    9.1] a word of the kernel\nthe end\nroost: job finished: exit 7\n{SHUTDOWN}".encode(), 2.0)
    assert list(console.job)[-2:] == ["line 99", "the end"]
    assert len(console.job) == 40


def test_the_end_of_the_log_on_the_disk(tmp_path: Path) -> None:
    image = make("ext4", tmp_path / "io.raw")
    disk = StoppedDisk("io.raw", {"driver": "raw", "file": {"driver": "file", "filename": str(image)}}, tmp_path, "vda")
    assert outcome.job_log(list(outcome.job_places(None, {"io.raw": disk}))) == ()
    log = tmp_path / "job.log"
    log.write_bytes(b"".join(b"line %d\n" % number for number in range(1000)) + b"\x1b[31mthe end\x1b[0m\xff\n\n")
    subprocess.run(["debugfs", "-w", "-R", f"write {log} job.log", str(image)], check=True, capture_output=True)
    again = StoppedDisk("io.raw", disk.node, tmp_path, "vdb")
    lines = outcome.job_log(list(outcome.job_places(None, {"io.raw": again})))
    assert lines[-2:] == ("line 999", "the end\N{REPLACEMENT CHARACTER}")
    assert len(lines) == outcome.LOG_LINES


def test_a_status_that_was_not_there_before_is_of_this_run(tmp_path: Path) -> None:
    """The clock of an image that roost did not build may be hours off."""
    old = tmp_path / "old.json"
    old.write_text('{"state": "finished", "exit_code": 0, "start": "2020-01-01T00:00:00Z"}')
    new = tmp_path / "new.json"
    new.write_text('{"state": "finished", "exit_code": 3, "start": "2020-01-01T00:00:00Z"}')
    disks = []
    for number, file in enumerate((None, old, new)):
        image = make("ext4", tmp_path / f"{number}.raw")
        if file:
            argv = ["debugfs", "-w", "-R", f"write {file} status.json", str(image)]
            subprocess.run(argv, check=True, capture_output=True)
        node = {"driver": "raw", "file": {"driver": "file", "filename": str(image)}}
        disks.append(StoppedDisk("io.raw", node, tmp_path, f"vd{number}"))
    empty, before, after = disks
    now = time.time()
    assert outcome.any_status([(empty, empty)], now) == (None, ())
    assert outcome.any_status([(before, before)], now) == (None, ())
    for was in (empty, before):
        status, _unread = outcome.any_status([(was, after)], now)
        assert status is not None
        assert status["exit_code"] == 3


def test_a_disk_whose_files_cannot_be_read_is_named(tmp_path: Path) -> None:
    image = make("xfs", tmp_path / "data.raw")
    node = {"driver": "raw", "file": {"driver": "file", "filename": str(image)}}
    disk = StoppedDisk("data.raw", node, tmp_path, "vda")
    assert outcome.any_status([(disk, disk)], time.time()) == (None, ("data.raw",))


HOSTILE = b"\x1b]0;title\x07\x1b[2J\x1b[31mred\x1b[0m\r\n\xff\x9b31m\xe2\x80\xae\r\n"


def test_the_console_is_followed_line_by_line_and_clean() -> None:
    stream = io.StringIO()
    with follow.following(stream) as echo:
        assert echo is not None
        for byte in (KERNEL + INIT + DONE).encode() + HOSTILE + b"no end":
            echo(bytes([byte]))
    text = stream.getvalue()
    assert "roost: job finished: exit 0\n" in text
    assert "red\n" in text
    assert text.endswith("no end\n")
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_terminal_that_stands_still_delays_nothing() -> None:
    class Stuck(io.StringIO):
        def __init__(self) -> None:
            super().__init__()
            self.go = threading.Event()

        def write(self, text: str) -> int:
            self.go.wait()
            return super().write(text)

    stream = Stuck()
    start = time.monotonic()
    with follow.following(stream) as echo:
        assert echo is not None
        echo(b"x\n" * 50_000)
        assert time.monotonic() - start < 5
        stream.go.set()
        time.sleep(0.2)
        echo(b"last\n")
    assert "lines left out]" in stream.getvalue()


def test_a_reader_that_went_away_ends_the_copy_only() -> None:
    class Gone(io.StringIO):
        def write(self, text: str) -> int:
            raise BrokenPipeError

    with follow.following(Gone()) as echo:
        assert echo is not None
        echo(b"x\n" * 1000)


def test_where_a_guest_is_in_a_line() -> None:
    console = Console()
    assert where("boot-loader", console) == "boot-loader"
    console.feed(b"[    5.168670] virtio_blk virtio1: [vda] 100 blocks\r\n", 1.0)
    assert where("kernel", console) == "kernel: virtio_blk virtio1: [vda] 100 blocks"
    console.feed(b"  Booting `x'\x1b[2J", 2.0)
    assert where("boot-loader", console) == "boot-loader: Booting `x'"


@pytest.mark.parametrize(
    ("verdict", "known"),
    [
        ('{"passed": true, "accelerator": "tcg", "seconds": {"probe": 1, "kernel": 2.5, "init": 3, "disks": 4}}', 5.5),
        ('{"passed": true, "accelerator": "kvm", "seconds": {"kernel": 2.5}}', None),
        ('{"passed": false, "accelerator": "tcg", "seconds": {"kernel": 2.5}}', None),
        ('{"passed": true, "accelerator": "tcg", "seconds": {"kernel": "long"}}', None),
        ('{"passed": true, "accelerator": "tcg", "seconds": [1]}', None),
        ("[", None),
    ],
)
def test_how_long_the_last_boot_took_if_it_says_something_of_this_one(
    tmp_path: Path, verdict: str, known: float | None
) -> None:
    (tmp_path / "kvm.json").write_text(verdict)
    found = last_time(tmp_path / "kvm.json", "tcg")
    assert found.get("boot") == known
    if known:
        assert found == {"probe": 1, "disks": 4, "boot": 5.5}
    assert last_time(tmp_path / "none.json", "tcg") == {}
