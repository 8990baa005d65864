"""The functional probe, by fake QEMUs: one that boots, one that hangs, one that refuses, and hosts that lack things."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roost.boot import accelerator, host_kernels
from roost.boot import probe as probes
from roost.boot.accelerator import choose
from roost.boot.probe import probe
from roost.errors import HostError, UsageError
from roost.events import Silent

RUNS = """\
printf '[    0.000000] Linux version 6.1.0\\r\\n'
printf '[    0.5] Kernel panic - not syncing: VFS: Unable to mount root fs on unknown-block(0,0)\\r\\n'
exit 0
"""
HANGS = "printf 'Probing EDD (edd=off to disable)... ok\\n'\nexec sleep 60\n"
SILENT = "exec sleep 60\n"
REFUSES = (
    "echo 'qemu-system-x86_64: warning: host lacks x' >&2\necho 'qemu-system-x86_64: failed to set MSR' >&2\nexit 1\n"
)
PANICS_EARLY = "printf '[    0.0] Linux version 6.1\\n[    0.1] Kernel panic - not syncing: no CPU\\n'\nexit 0\n"

Fake = Callable[[str, str], Path]


@pytest.fixture
def fake(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Fake:
    """Return a function that puts a fake QEMU on PATH: what it does under kvm, what under tcg; it counts its starts."""
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(probes, "DEVICE", tmp_path / "kvm")
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setenv("PATH", f"{directory}:{os.environ['PATH']}")

    def put(kvm: str, tcg: str = RUNS) -> Path:
        program = directory / "qemu-system-x86_64"
        program.write_text(
            f'#!/bin/sh\necho "$@" >>{tmp_path}/starts\ncase "$*" in\n*"-accel kvm"*)\n{kvm};;\n*)\n{tcg};;\nesac\n'
        )
        program.chmod(0o755)
        return tmp_path / "starts"

    return put


@pytest.fixture
def device(tmp_path: Path) -> Path:
    """Return something that can be opened like /dev/kvm."""
    path = tmp_path / "kvm"
    path.touch()
    return path


@pytest.fixture
def kernel(tmp_path: Path) -> Path:
    """Return a file that looks like a kernel."""
    path = tmp_path / "vmlinuz-6.1"
    path.write_bytes(b"\0" * 0x202 + b"HdrS")
    return path


def _starts(log: Path) -> int:
    return len(log.read_text().splitlines()) if log.exists() else 0


def test_kvm_that_works(fake: Fake, device: Path, kernel: Path) -> None:
    fake(RUNS, RUNS)
    result = probe(kernel, device=device)
    assert (result.state, result.usable, result.fix) == ("works", True, None)
    assert result.seconds < 5


@pytest.mark.parametrize(("does", "far"), [(HANGS, "Probing EDD"), (SILENT, "no output")])
def test_kvm_that_hangs(fake: Fake, device: Path, kernel: Path, does: str, far: str) -> None:
    fake(does, RUNS)
    start = time.monotonic()
    result = probe(kernel, device=device, deadline=0.5)
    assert (result.state, result.usable) == ("hung", False)
    assert far in result.seen
    assert result.fix
    assert time.monotonic() - start < 3


def test_kvm_that_qemu_refuses(fake: Fake, device: Path, kernel: Path) -> None:
    fake(REFUSES, RUNS)
    result = probe(kernel, device=device)
    assert (result.state, result.usable) == ("refused", False)
    assert "failed to set MSR" in result.seen
    assert "warning" not in result.seen


def test_a_kernel_that_stops_early_has_not_run(fake: Fake, device: Path, kernel: Path) -> None:
    fake(PANICS_EARLY, RUNS)
    result = probe(kernel, device=device)
    assert (result.state, "no CPU" in result.seen) == ("refused", True)


def test_kvm_absent(fake: Fake, tmp_path: Path, kernel: Path) -> None:
    starts = fake(RUNS, RUNS)
    result = probe(kernel, device=tmp_path / "absent")
    assert (result.state, result.usable) == ("absent", False)
    assert _starts(starts) == 0


def test_kvm_not_permitted(fake: Fake, device: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fake(RUNS, RUNS)

    def refuse(path: object, flags: int) -> int:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr("roost.boot.probe.os.open", refuse)
    result = probe(kernel, device=device)
    assert (result.state, result.usable) == ("not-permitted", False)
    assert "group" in str(result.fix)


def test_no_kernel_to_try(fake: Fake, device: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    starts = fake(RUNS, RUNS)
    monkeypatch.setattr(host_kernels, "kernels", lambda: iter(()))
    result = probe(device=device)
    assert (result.state, result.usable) == ("no-kernel", False)
    assert _starts(starts) == 0


def test_it_is_remembered_until_something_changes(fake: Fake, device: Path, kernel: Path) -> None:
    starts = fake(RUNS, RUNS)
    assert not probe(kernel, device=device).remembered
    again = probe(kernel, device=device)
    assert (again.remembered, again.state, _starts(starts)) == (True, "works", 1)
    assert not probe(kernel, device=device, fresh=True).remembered
    assert _starts(starts) == 2
    device.chmod(0o600)
    assert not probe(kernel, device=device).remembered
    fake(REFUSES, RUNS)
    assert probe(kernel, device=device).state == "refused"


def test_a_damaged_record_of_a_probe_is_ignored(fake: Fake, device: Path, kernel: Path, tmp_path: Path) -> None:
    fake(RUNS, RUNS)
    probe(kernel, device=device)
    for content in ("{", "[1]", '{"state": "works"}', ""):
        for memory in (tmp_path / "cache" / "probe").iterdir():
            memory.write_text(content)
        assert not probe(kernel, device=device).remembered


def test_auto_falls_back_and_says_so(fake: Fake, device: Path, kernel: Path) -> None:
    fake(REFUSES, f"sleep 0.2\n{RUNS}")
    notes: list[str] = []

    class Notes(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    chosen = choose("auto", kernel=kernel, events=Notes())
    assert (chosen.name, chosen.cpu, chosen.measured) == ("tcg", "max", True)
    assert chosen.factor >= 1
    assert "failed to set MSR" in notes[0]
    assert "TCG" in notes[0]


def test_kvm_is_chosen_where_it_works(fake: Fake, device: Path, kernel: Path) -> None:
    fake(RUNS, RUNS)
    chosen = choose("auto", kernel=kernel)
    assert (chosen.name, chosen.cpu) == ("kvm", "host")


def test_who_insists_on_kvm_gets_the_reason(fake: Fake, device: Path, kernel: Path) -> None:
    fake(REFUSES, RUNS)
    for options in ({"accel": "kvm"}, {"accel": "auto", "require_kvm": True}):
        with pytest.raises(HostError, match="failed to set MSR"):
            choose(kernel=kernel, **options)


def test_a_kernel_that_boots_nowhere_proves_nothing(
    fake: Fake, device: Path, kernel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(probes, "DEADLINE", 0.3)
    monkeypatch.setattr(probes, "TCG_DEADLINE", 0.3)
    starts = fake(SILENT, SILENT)
    chosen = choose("auto", kernel=kernel)
    assert chosen.probe is not None
    assert (chosen.probe.state, chosen.measured, chosen.factor) == ("no-kernel", False, accelerator.UNMEASURED_FACTOR)
    before = _starts(starts)
    choose("auto", kernel=kernel)
    assert _starts(starts) > before, "what proves nothing is not remembered"


@pytest.mark.parametrize("options", [{"accel": "xen"}, {"accel": "tcg", "require_kvm": True}])
def test_calls_that_make_no_sense(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        choose(**options)


def test_only_kernels_are_tried(tmp_path: Path, kernel: Path) -> None:
    assert host_kernels.is_kernel(kernel)
    (tmp_path / "text").write_text("no kernel" * 200)
    assert not host_kernels.is_kernel(tmp_path / "text")
    assert not host_kernels.is_kernel(tmp_path / "absent")
