"""Verdicts from recorded evidence: each cause by what really came off such a guest, and nothing passes by absence."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest

from roost.boot.console import FIRMWARE, Console
from roost.boot.evidence import Evidence, Expected
from roost.boot.monitor import Event
from roost.boot.verdict import Cause, judge
from roost.boot.watch import Goal, timeline
from roost.verify.evidence import FileSystem

OFF = (Event(12.0, "SHUTDOWN", {"guest": True, "reason": "guest-shutdown"}),)
RESET = (Event(12.0, "SHUTDOWN", {"guest": True, "reason": "guest-reset"}),)

FIRMWARE_OK = "SeaBIOS (version 1.16.2)\nBooting from Hard Disk...\nBooting from 0000:7c00\n"
KERNEL = "[    0.000000] Linux version 6.1.0-56-cloud-amd64\n[    2.1] Run /init as init process\n"
FOUND = "[    2.3] virtio_blk virtio0: [vda] 32768 512-byte logical blocks (16.8 MB/16.0 MiB)\n"
INIT = "[    4.0] systemd[1]: systemd 252.39-1~deb12u1 running in system mode (+PAM)\n"
JOB = KERNEL + FOUND + INIT + "roost: job started\n"
DONE = JOB + "roost: job finished: exit 0\n[   12.0] reboot: Power down\n"
NOT_RUN = (
    KERNEL
    + FOUND
    + INIT
    + "roost: the job was not run: there is no disk with label io\n"
    + "roost: job finished: exit 1\n[   12.0] reboot: Power down\n"
)
FINISHED: Mapping[str, Any] = {"state": "finished", "exit_code": 0, "signal": None, "timed_out": False}


def recorded(
    serial: str, *, firmware: str = FIRMWARE_OK, goal: Goal = "job", stop: str = "ended", **found: Any
) -> Evidence:
    """Return the evidence that a console makes."""
    console, debug = Console(), Console(FIRMWARE)
    for number, line in enumerate(serial.splitlines(keepends=True)):
        console.feed(line.encode(), 2.0 + number)
    console.settle(60.0)
    debug.feed(firmware.encode(), 0.5)
    return Evidence(
        goal=goal,
        stop=stop,
        phases=timeline(console.signs, debug.signs),
        serial=console.signs,
        firmware=debug.signs,
        exits=tuple(console.exits),
        **found,
    )


NO_ROOT = KERNEL + "ALERT!  UUID=6a2f0c36 does not exist.  Dropping to a shell!\n(initramfs) "
XVDA = "[    2.5] blkfront: xvda: flush diskcache: enabled; persistent grants: enabled\n"
MOUNTED = "[    3.0] EXT4-fs (xvda1): mounted filesystem with ordered data mode. Quota mode: none.\n"
CASES: list[tuple[str, Cause, str, Evidence]] = [
    ("initrd without a word", "no-root", "initrd", recorded(KERNEL + XVDA, stop="initrd-timeout")),
    ("mounted, no word since", "job-timeout", "initrd", recorded(KERNEL + XVDA + MOUNTED, stop="initrd-timeout")),
    ("a kernel of few words", "job-timeout", "initrd", recorded(KERNEL, stop="initrd-timeout")),
    ("refused", "hypervisor", "start", Evidence(goal="job", stop="refused", refused="unknown driver format value")),
    ("qemu died", "hypervisor", "kernel", recorded(KERNEL[:50] + "\n", stop="gone")),
    ("image changed", "hypervisor", "disks", recorded(DONE, events=OFF, changed=("root.qcow2",))),
    (
        "empty disk",
        "no-boot-loader",
        "firmware",
        recorded("", firmware="SeaBIOS (version 1)\nNo bootable device.\n", stop="not-bootable"),
    ),
    ("boot sector of zeros", "no-boot-loader", "boot-loader", recorded("", stop="loader-idle")),
    (
        "grub without kernel",
        "no-boot-loader",
        "boot-loader",
        recorded("error: file `/boot/vmlinuz' not found.\ngrub> ", stop="loader-error"),
    ),
    ("loader resets", "no-boot-loader", "boot-loader", recorded("", events=RESET)),
    ("no virtio", "no-root-driver", "initrd", recorded(NO_ROOT, stop="no-root", root_disk_seen=False)),
    ("wrong uuid", "no-root", "initrd", recorded(NO_ROOT, stop="no-root", root_disk_seen=True)),
    ("unknown whether seen", "no-root", "initrd", recorded(NO_ROOT, stop="no-root")),
    (
        "initrd gives up and powers off",
        "no-root-driver",
        "initrd",
        recorded(KERNEL + "roost: no root file system: root=UUID=1 is on no disk\n", events=OFF, root_disk_seen=False),
    ),
    (
        "root without init",
        "no-root",
        "initrd",
        recorded(KERNEL + "No init found. Try passing init= bootarg.\n(initramfs) ", stop="no-init"),
    ),
    (
        "no initrd",
        "no-root-driver",
        "kernel",
        recorded(
            "[    0.0] Linux version 6.1\n[    2.3] Kernel panic - not syncing: VFS: Unable to mount root fs on"
            " unknown-block(0,0)\n",
            stop="panic",
            root_disk_seen=False,
        ),
    ),
    ("init exits", "panic", "init", recorded(KERNEL + INIT + "Kernel panic - not syncing: Attempted\n", stop="panic")),
    ("panic=1", "panic", "job", recorded(JOB + "Kernel panic - not syncing: x\n", events=RESET)),
    ("halt", "halted", "power-off", recorded(JOB + "[   9.1] reboot: System halted\n", stop="halted")),
    ("silent halt", "halted", "job", recorded(JOB, stop="dead")),
    ("no acpi", "halted", "power-off", recorded(DONE, stop="power-down")),
    ("job done, stays on", "halted", "power-off", recorded(JOB + "roost: job finished: exit 0\n", stop="timeout")),
    ("reboot loop", "rebooted", "job", recorded(JOB, events=RESET)),
    ("job hangs", "job-timeout", "job", recorded(JOB, stop="timeout")),
    ("init hangs", "job-timeout", "init", recorded(KERNEL + INIT, stop="timeout")),
    ("guest kills the job", "job-timeout", "job", recorded(DONE, events=OFF, status={**FINISHED, "timed_out": True})),
    ("job fails", "job-failed", "job", recorded(JOB + "roost: job finished: exit 7\n", events=OFF)),
    ("disk knows better", "job-failed", "job", recorded(DONE, events=OFF, status={**FINISHED, "exit_code": 3})),
    ("gone before the end", "job-failed", "job", recorded(JOB, events=OFF)),
    (
        "gone before the job",
        "job-failed",
        "init",
        recorded(KERNEL + INIT + "[   12.0] reboot: Power down\n", events=OFF),
    ),
    (
        "meant to fail, did not",
        "job-failed",
        "job",
        recorded(DONE, events=OFF, status=FINISHED, exit_status=7),
    ),
    (
        "runner died",
        "job-failed",
        "job",
        recorded(JOB, events=OFF, status={"state": "running", "start": "2026-01-01T00:00:00Z"}),
    ),
    (
        "dirty",
        "dirty-filesystem",
        "disks",
        recorded(DONE, events=OFF, filesystems=(FileSystem("root.qcow2", 1, "ext", False, "cut off"),)),
    ),
    (
        "result missing",
        "expectation",
        "disks",
        recorded(DONE, events=OFF, expectations=(Expected("/r on io", False, "there is no such file", True),)),
    ),
    (
        "line missing",
        "expectation",
        "power-off",
        recorded(DONE, events=OFF, expectations=(Expected("console: x", False, "not on the console"),)),
    ),
    ("no login", "expectation", "init", recorded(KERNEL + INIT, goal="login", stop="timeout")),
    ("nothing written", "job-failed", "init", recorded(KERNEL + INIT, goal="any", events=OFF, written=())),
    ("off at once", "no-boot-loader", "boot-loader", recorded("", goal="any", events=OFF, written=())),
    (
        "result on the console only",
        "job-failed",
        "power-off",
        recorded(DONE, goal="any", events=OFF, written=("io.raw",), unread=()),
    ),
    (
        "panic, saved, powered off",
        "panic",
        "job",
        recorded(JOB + "[ 9.1] Kernel panic - not syncing: x\n", goal="any", events=OFF, written=("root.raw",)),
    ),
    (
        "panic after the login prompt",
        "panic",
        "init",
        recorded(KERNEL + INIT + "a login: \n[ 9.1] Kernel panic - not syncing: x\n", goal="login", events=OFF),
    ),
    (
        "emergency mode, then off",
        "job-failed",
        "init",
        recorded(KERNEL + INIT + "You are in emergency mode\n", goal="any", events=OFF, written=("root.raw",)),
    ),
    (
        "status of an unknown image",
        "job-failed",
        "init",
        recorded(KERNEL + INIT, goal="any", events=OFF, status={"state": "running"}, written=("io.raw",)),
    ),
    (
        "not fully set up",
        "job-failed",
        "job",
        recorded(
            DONE,
            events=OFF,
            exit_status=1,
            status={**FINISHED, "exit_code": 1, "not_ready": "cloud-init failed: exit 1"},
        ),
    ),
    ("no io disk, no status", "job-failed", "job", recorded(NOT_RUN, events=OFF, exit_status=1)),
    ("no io disk, no recipe", "job-failed", "job", recorded(NOT_RUN, goal="any", events=OFF, written=("root.raw",))),
    (
        "io disk not used",
        "job-failed",
        "job",
        recorded(DONE, events=OFF, status=FINISHED, unused="io"),
    ),
    (
        "exit code is not a number",
        "job-failed",
        "job",
        recorded(DONE, events=OFF, status={**FINISHED, "exit_code": False}),
    ),
    (
        "overwritten",
        "dirty-filesystem",
        "disks",
        recorded(
            KERNEL + INIT + "host login: ",
            goal="login",
            button=True,
            stop="button-ignored",
            filesystems=(FileSystem("io.raw", 0, "ext", False, "it held ext", lost=True),),
        ),
    ),
    ("nothing ever", "expectation", "kernel", recorded(KERNEL[:50] + "\n", goal="any", stop="timeout")),
]


@pytest.mark.parametrize(("cause", "phase", "evidence"), [case[1:] for case in CASES], ids=[case[0] for case in CASES])
def test_each_cause(cause: Cause, phase: str, evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert (verdict.passed, verdict.cause, verdict.phase) == (False, cause, phase), verdict.detail
    assert verdict.detail


PASSING = [
    ("job", recorded(DONE, events=OFF)),
    ("job with status", recorded(DONE, events=OFF, status=FINISHED)),
    # A job may print what it likes: the guest went on, did its work and switched itself off.
    ("job prints a panic", recorded(JOB + "Kernel panic - not syncing: ha\n" + DONE, events=OFF, status=FINISHED)),
    (
        "job prints that it was not run",
        recorded(JOB + "roost: the job was not run: x\n" + DONE[len(JOB) :], events=OFF),
    ),
    ("console lost the line", recorded(JOB + "roost: job fini[ 3.2] usb\n", events=OFF, status=FINISHED)),
    ("login", recorded(KERNEL + INIT + "host login: ", goal="login", events=OFF, button=True)),
    (
        "login, button ignored",
        recorded(KERNEL + INIT + "host login: ", goal="login", button=True, stop="button-ignored"),
    ),
    ("unknown image that goes off", recorded("", goal="any", events=OFF)),
    ("job that stays", recorded(JOB + "roost: job finished: exit 0\n", events=OFF, button=True)),
]


@pytest.mark.parametrize("evidence", [case[1] for case in PASSING], ids=[case[0] for case in PASSING])
def test_what_passes(evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert verdict.passed, (verdict.cause, verdict.detail)
    assert verdict.cause is None


SAID: list[tuple[str, Evidence]] = [
    ("no result", recorded(KERNEL + INIT, goal="any", events=OFF, written=("root.raw",))),
    ("serial console", recorded("", goal="any", events=OFF)),
    ("console only", recorded(DONE, goal="any", events=OFF, written=("io.raw",), unread=("root.raw",))),
    (
        "units that failed: a.service, b",
        recorded(DONE, events=OFF, status={**FINISHED, "failed_units": ["a.service", "b"]}),
    ),
    ("cloud-init", recorded(DONE, events=OFF, status={**FINISHED, "degraded": "cloud-init: \x1b[31mx"})),
]


@pytest.mark.parametrize(("words", "evidence"), SAID, ids=[words for words, _ in SAID])
def test_what_is_not_known_or_not_in_order_is_said(words: str, evidence: Evidence) -> None:
    verdict = judge(evidence)
    assert verdict.passed, verdict
    assert any(words in note for note in verdict.notes), verdict.notes
    assert all(note.isprintable() for note in verdict.notes)


def test_why_a_job_was_not_run_is_the_reason() -> None:
    status = {**FINISHED, "exit_code": 1, "not_ready": "cloud-init failed: exit 1: resizefs\x1b[2J"}
    detail = judge(recorded(DONE, events=OFF, status=status)).detail
    assert "cloud-init failed: exit 1: resizefs" in detail
    assert detail.isprintable()


def test_that_the_io_disk_was_missing_is_the_reason() -> None:
    """Also where the status is on a root file system that is not read, and the job is to end with this exit status."""
    evidence = recorded(NOT_RUN, events=OFF, exit_status=1)
    assert judge(evidence).detail == "the job was not run: there is no disk with label io"
    assert "io disk io" in judge(recorded(DONE, events=OFF, unused="io")).detail


@pytest.mark.parametrize("goal", ["job", "login", "any"])
def test_absence_passes_nothing(goal: Goal) -> None:
    assert not judge(Evidence(goal=goal, stop="timeout")).passed
    assert not judge(Evidence(goal=goal, stop="ended")).passed
    assert not judge(recorded("", goal=goal, stop="timeout")).passed


def test_a_job_that_only_says_so_has_not_passed() -> None:
    said = recorded(JOB + "roost: job finished: exit 0\n", events=OFF, status={**FINISHED, "exit_code": 1})
    assert judge(said).cause == "job-failed"


def test_what_was_not_judged_is_noted() -> None:
    evidence = recorded(DONE, events=OFF, filesystems=(FileSystem("root.qcow2", 1, "xfs", None, "not looked at"),))
    assert any("xfs" in note for note in judge(evidence).notes)
    assert any("console only" in note for note in judge(evidence).notes)
    assert not judge(replace(evidence, status=FINISHED, filesystems=())).notes


def test_signs_that_were_read_in_one_piece_keep_their_phase() -> None:
    """A busy host reads the last words and the power-off at one time."""
    console = Console()
    console.feed(KERNEL.encode(), 2.0)
    said = "roost: no root file system: root=UUID=1 is on no disk\nreboot: Power down\n"
    console.feed(said.encode(), 3.0)
    console.settle(60.0)
    phases = timeline(console.signs, Console(FIRMWARE).signs)
    assert phases[-1] == ("power-off", 3.0)
    verdict = judge(Evidence(goal="job", stop="ended", phases=phases, serial=console.signs, events=OFF))
    assert (verdict.phase, verdict.cause) == ("initrd", "no-root")
