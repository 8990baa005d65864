"""Broken images of the kind that people make: each is told by its cause, long before a person would give up."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.boot.context import Context, How
from roost.boot.run import BootResult, boot
from tests.images.broken import Edit, replaced, smoke_disk

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]

GRUB = "/boot/grub/grub.cfg"
KERNEL, INITRD = "/boot/vmlinuz*", "/boot/initrd.img*"
POWER_OFF = "/usr/lib/roost/power-off"
SCRIPT = b"#!/bin/sh\n"


def _garbage(content: bytes) -> bytes:
    """Return a file whose middle is noise: its head still says what it is."""
    begin, end = len(content) // 4, len(content) // 2
    noise = bytes((17 * number * number + 5) & 0xFF for number in range(4096))
    return content[:begin] + (noise * ((end - begin) // 4096 + 1))[: end - begin] + content[end:]


def _triple_fault(disk: bytearray) -> None:
    # cli; lidt [0x7c10] (a limit of 0); int3: no handler for it, none for that: the CPU resets.
    code = b"\xfa\x0f\x01\x1e\x10\x7c\xcc\xf4"
    disk[0:32] = code.ljust(32, b"\0")


def _job(script: str) -> Edit:
    return Edit({"/opt/job/run": SCRIPT + script.encode()})


#: What is done to smoke, and which causes are right; those that take the longest are CI's.
CASES: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "grub-cfg-missing": (Edit({GRUB: None}), ("no-boot-loader",)),
    "initrd-corrupt": (Edit({INITRD: _garbage}), ("no-root-driver",)),
    "no-boot-flag": (Edit(disk=lambda disk: disk.__setitem__(slice(510, 512), b"\0\0")), ("no-boot-loader",)),
    "triple-fault": (Edit(disk=_triple_fault), ("no-boot-loader",)),
}
SLOW_CASES: dict[str, tuple[Edit, tuple[str, ...]]] = {
    "silent-panic": (
        Edit({GRUB: replaced(" console=ttyS0,115200", ""), "/usr/sbin/init": SCRIPT + b"exit 1\n"}),
        ("panic",),
    ),
    "panic-reboots": (
        # Behind " ro": the consoles that follow, and their order, are the recipe's hypervisors'.
        Edit({GRUB: replaced(" ro ", " ro panic=5 init=/opt/job/run "), "/opt/job/run": SCRIPT}),
        ("panic",),
    ),
    "init-exits": (Edit({"/usr/sbin/init": SCRIPT + b"exit 1\n"}), ("panic",)),
    "init-missing": (Edit({"/usr/sbin/init": None}), ("no-root",)),
    "wrong-partition": (Edit({GRUB: lambda text: _root(text, b"/dev/vda2")}), ("no-root",)),
    # GRUB shows the error for ten seconds and then starts the kernel without it.
    "initrd-missing": (Edit({INITRD: None}), ("no-root-driver",)),
    "initrd-not-named": (Edit({GRUB: replaced("initrd16 /boot", "#initrd16 /boot")}), ("no-root-driver",)),
    # The kernel's own loader says so to a screen that is not there, and sleeps.
    "kernel-corrupt": (Edit({KERNEL: _garbage}), ("halted",)),
    "kernel-empty": (Edit({KERNEL: b""}), ("no-boot-loader",)),
    "stays-on": (
        Edit(
            {
                "/usr/lib/roost/job": replaced('"$ending" = poweroff', '"$ending" = never'),
                "/etc/inittab": replaced("::respawn:/usr/lib/roost/watch\n", ""),
            }
        ),
        ("halted",),
    ),
    "runner-killed": (_job("kill -9 -1"), ("job-failed",)),
    "halts": (Edit({POWER_OFF: replaced("\npoweroff -f", "\nhalt -f")}), ("halted",)),
    "reboots": (Edit({POWER_OFF: replaced("\npoweroff -f", "\nreboot -f")}), ("rebooted",)),
    "off-before-the-job": (Edit({"/usr/lib/roost/start": replaced("exit 0", "poweroff -f")}), ("job-failed",)),
    "job-is-missing": (Edit({"/opt/job/run": None}), ("job-failed",)),
    "job-never-starts": (Edit({"/etc/inittab": replaced("::once:/usr/lib/roost/job\n", "")}), ("job-timeout",)),
    "fork-bomb": (_job("f() { f | f & }; f; wait; sleep 1000"), ("job-timeout", "panic", "job-failed")),
    "io-disk-full": (_job('cat /dev/zero >"$ROOST_OUTPUT/x"'), ("job-failed",)),
    "root-full": (
        _job('cat /dev/zero >/var/x 2>/dev/null; set -e; echo 42 >/var/y; cp /var/y "$ROOST_OUTPUT/result.txt"'),
        ("job-failed",),
    ),
    "cut-off": (_job("echo o >/proc/sysrq-trigger; sleep 100"), ("job-failed",)),
    "crash": (_job("echo c >/proc/sysrq-trigger; sleep 100"), ("panic",)),
    "reset": (_job("echo b >/proc/sysrq-trigger; sleep 100"), ("rebooted",)),
    "silent": (Edit({GRUB: replaced(" console=ttyS0,115200", "")}), ("expectation",)),
    "table-of-zeros": (Edit(disk=lambda disk: disk.__setitem__(slice(446, 510), bytes(64))), ("no-boot-loader",)),
    "core-of-zeros": (
        Edit(disk=lambda disk: disk.__setitem__(slice(512, 1 << 20), bytes((1 << 20) - 512))),
        ("no-boot-loader",),
    ),
}


def _root(text: bytes, root: bytes) -> bytes:
    begin = text.index(b"root=UUID=")
    return text[:begin] + b"root=" + root + text[text.index(b" ", begin) :]


#: Those that only time ends: a boot of smoke takes a quarter of it. GRUB waits by the clock where the initrd is gone.
SECONDS = {"stays-on": 5.0, "job-never-starts": 5.0, "fork-bomb": 5.0, "initrd-missing": 60.0}


def _boot_edited(smoke: Path, directory: Path, edit: Edit, timeout: float) -> BootResult:
    """Boot smoke with an edit; it may take `timeout` seconds under KVM, here so many times longer as TCG is slower."""
    vm, recipe = smoke_disk(smoke, directory, edit)
    tried = recipe.boot_test.model_copy(update={"timeout": timeout})
    wanted = recipe.model_copy(update={"boot_test": tried})
    return boot(Context(vm, directory, wanted, how=How("tcg")), directory / "boot")


def test_a_job_that_does_not_find_its_io_disk_is_not_run(smoke: Path, tmp_path: Path) -> None:
    """It would do its work without its inputs, and all it leaves would be lost with the root disk."""
    result = _boot_edited(smoke, tmp_path, Edit({"/etc/roost/job/label": b"other\n"}), 12.0)
    assert (result.passed, result.verdict.cause) == (False, "job-failed"), result.console
    assert result.verdict.detail == "the job was not run: there is no disk with label other"
    assert result.to_json()["not_ready"] == "there is no disk with label other"
    assert "reboot: Power down" in result.console and "roost: job started" not in result.console


@pytest.mark.parametrize("case", [*CASES, *(pytest.param(name, marks=pytest.mark.slow) for name in SLOW_CASES)])
def test_a_broken_image(case: str, smoke: Path, tmp_path: Path) -> None:
    edit, causes = (CASES | SLOW_CASES)[case]
    result = _boot_edited(smoke, tmp_path, edit, SECONDS.get(case, 12.0))
    assert not result.passed
    assert result.verdict.cause in causes, (result.verdict, result.console)
