"""A host that is itself a Xen dom0: its own xl starts the domain. A stand-in for xl keeps the domain in a directory."""

from __future__ import annotations

import asyncio
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roost.boot import drive, xen_host
from roost.boot import xen as xens
from roost.boot.accelerator import Accelerator
from roost.boot.backends import DirectKernel, DiskPlace
from roost.boot.domain import HostXen
from roost.boot.start import Listening
from roost.boot.verdict import judge
from roost.boot.watch import BootPlan
from roost.boot.xen_machine import FirstDomain
from roost.condor.hardware import hardware
from roost.condor.machine import MachineKernel, VirtualMachine, VmDisk
from roost.errors import UsageError
from roost.events import Silent
from roost.pipeline import boot as booting
from roost.pipeline import xen_dom0

IMAGE = VirtualMachine(
    "smoke", "xen", 256, 1, (VmDisk("root.raw", "xvda", "w", "raw"), VmDisk("io.raw", "xvdb", "r", "raw"))
)
XL = """#!/usr/bin/env python3
import json, os, sys, time
from pathlib import Path
home = Path({home!r})
story = json.loads((home / "story").read_text())
verb, rest = sys.argv[1], sys.argv[2:]
with (home / "calls").open("a") as file:
    file.write(json.dumps(sys.argv[1:]) + chr(10))
if verb == "info":
    print("host                   : dom0")
    print("xen_version            : 4.17.5")
elif verb == "create":
    (home / "config").write_text(Path(rest[-1]).read_text())
    if "refused" in story:
        sys.stderr.write(story["refused"])
        sys.exit(1)
elif verb == "unpause":
    (home / "started").write_text(str(time.time()))
elif verb == "console":
    while not (home / "started").exists():
        time.sleep(0.02)
    for line in story["console"]:
        print(line, flush=True)
        time.sleep(0.02)
    (home / "said").touch()
    time.sleep(30)
elif verb == "list":
    if (home / "destroyed").exists() or story.get("vanishes") and (home / "said").exists():
        sys.exit("does not exist")
    over = (home / "said").exists() and story.get("ends", True) or (home / "asked").exists()
    print("Name  ID   Mem VCPUs\\tState\\tTime(s)   UUID   Reason-Code\\tSecurity Label")
    state, reason = ("---s--", story["reason"]) if over else ("-b----", "-")
    print(f"{{rest[-1]:<40}}    1   256     1     {{state}}      10.2 "
          f"01234567-89ab-cdef-0123-456789abcdef {{reason:>8}}                -")
elif verb == "shutdown":
    (home / "asked").touch()
elif verb == "destroy":
    (home / "destroyed").touch()
"""
BOOT = ["[    0.0] Linux version 6.1", "[    0.1] Hypervisor detected: Xen PV", "[    1.0] Run /init as init process"]
DONE = [*BOOT, "roost: job started", "roost: job finished: exit 0", "[    2.0] reboot: Power down"]


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a stand-in for xl on PATH; return its directory."""
    programs, home = tmp_path / "bin", tmp_path / "home"
    for directory in (programs, home, tmp_path / "scratch"):
        directory.mkdir()
    (programs / "xl").write_text(XL.format(home=str(home)))
    (programs / "xl").chmod(0o755)
    monkeypatch.setenv("PATH", f"{programs}:/usr/bin:/bin")
    _story(home, DONE)
    return home


def _story(home: Path, console: list[str], reason: int = 0, **more: Any) -> None:
    (home / "story").write_text(json.dumps({"console": console, "reason": f"{reason:x}", **more}))


def _calls(home: Path) -> list[list[str]]:
    return [json.loads(line) for line in (home / "calls").read_text().splitlines()]


def _capabilities(directory: Path, text: str) -> Path:
    path = directory / "capabilities"
    path.write_text(text)
    return path


def _run(tmp_path: Path, machine: VirtualMachine = IMAGE, *, stays: bool = False) -> drive.Observation:
    shape = hardware(machine)
    scratch = tmp_path / "scratch"
    places = {one.target: DiskPlace(tmp_path / one.file, scratch / f"{one.target}.qcow2") for one in shape.disks}
    places["xvdb"] = replace(places["xvdb"], layer=None)
    direct = DirectKernel(Path("/k/vmlinuz"), Path("/k/initrd.img")) if machine.kernel else None
    found = xen_host.find(_capabilities(tmp_path, "control_d\n"))
    assert found is not None
    start = xen_host.Host(found, shape, places, direct).start
    listening = Listening(scratch / "log/serial.log", scratch / "log/qemu.log", scratch)
    return asyncio.run(drive.drive(start, BootPlan("job", 30.0, 1.0, stays), shape, listening))


@pytest.mark.parametrize("text", ["", "\n", "other\n", "control_domain\n"])
def test_a_domain_without_control_is_not_a_dom0(tmp_path: Path, home: Path, text: str) -> None:
    assert xen_host.find(_capabilities(tmp_path, text)) is None
    assert xen_host.find(tmp_path / "nothing") is None
    assert not (home / "calls").exists()


def test_a_dom0_needs_an_xl_that_answers(tmp_path: Path, home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = _capabilities(tmp_path, "control_d\n")
    found = xen_host.find(path)
    assert found is not None
    assert found.version == "4.17.5"
    (tmp_path / "bin/xl").write_text("#!/bin/sh\necho 'xl: you must be root' >&2\nexit 1\n")
    assert xen_host.find(path) is None
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    assert xen_host.find(path) is None


def test_a_domain_of_the_host_passes_and_is_gone_afterwards(tmp_path: Path, home: Path) -> None:
    seen = _run(tmp_path)
    assert (seen.stop, seen.exits, seen.version) == ("ended", (0,), "Xen 4.17.5")
    assert judge(seen.evidence("job")).passed
    text = (home / "config").read_text()
    assert 'name = "roost-' in text
    assert f"format=qcow2, vdev=xvda, access=rw, target={tmp_path}/scratch/xvda.qcow2" in text
    assert f"format=raw, vdev=xvdb, access=ro, target={tmp_path}/io.raw" in text
    assert 'bootloader = "pygrub"' in text
    assert b"Hypervisor detected: Xen" in (tmp_path / "scratch/log/serial.log").read_bytes()
    verbs = [call[0] for call in _calls(home)]
    assert verbs[:2] == ["info", "create"]
    assert verbs[-1] == "destroy"
    assert verbs.count("destroy") == 1


def test_a_kernel_beside_the_image_is_the_hosts_own_file(tmp_path: Path, home: Path) -> None:
    kernel = MachineKernel("/k/vmlinuz", "/k/initrd.img", "/dev/xvda1", "root=LABEL=a ro console=hvc0")
    assert judge(_run(tmp_path, replace(IMAGE, kernel=kernel)).evidence("job")).passed
    text = (home / "config").read_text()
    assert 'kernel = "/k/vmlinuz"\nramdisk = "/k/initrd.img"\ncmdline = "root=LABEL=a ro console=hvc0"' in text


@pytest.mark.parametrize(("reason", "cause"), [(1, "rebooted"), (3, "panic"), (0, "job-failed")])
def test_how_it_ended_decides(tmp_path: Path, home: Path, reason: int, cause: str) -> None:
    _story(home, BOOT, reason)
    verdict = judge(_run(tmp_path).evidence("job"))
    assert (verdict.passed, verdict.cause) == (False, cause)


def test_a_domain_that_vanishes_has_shown_nothing(tmp_path: Path, home: Path) -> None:
    _story(home, DONE, vanishes=True)
    assert not judge(_run(tmp_path).evidence("job")).passed


def test_a_guest_that_stays_is_told_to_shut_down(tmp_path: Path, home: Path) -> None:
    _story(home, DONE[:-1], ends=False)
    seen = _run(tmp_path, stays=True)
    assert seen.button is not None
    assert ["shutdown"] in [call[:1] for call in _calls(home)]
    assert judge(seen.evidence("job")).passed


def test_pygrub_without_a_kernel_is_the_images_fault(tmp_path: Path, home: Path) -> None:
    _story(home, [], refused="libxl: error: libxl_bootloader.c:648:bootloader_finished: Domain 1:bootloader failed\n")
    verdict = judge(_run(tmp_path).evidence("job"))
    assert (verdict.cause, verdict.passed) == ("no-boot-loader", False)
    assert _calls(home)[-1][0] == "destroy"


def test_a_domain_that_xl_refuses_is_the_hypervisors_word(tmp_path: Path, home: Path) -> None:
    _story(home, [], refused="libxl: error: libxl_create.c:1030:x: Domain 2:not enough memory for domain\n")
    with pytest.raises(drive.QemuError) as refused:
        _run(tmp_path)
    assert "not enough memory" in refused.value.tail


def test_the_hosts_xen_is_used_unless_another_is_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    from roost.boot.context import Context

    host = HostXen("/usr/sbin/xl", "4.17.5")
    first = FirstDomain(*(Path(name) for name in "hkir"))
    monkeypatch.setattr(xen_host, "find", lambda: host)
    monkeypatch.setattr(xen_dom0, "provide", lambda stages: first)
    context = Context(IMAGE, Path(), events=Silent())

    def chosen(machine: VirtualMachine = IMAGE, **options: Any) -> object:
        return booting.started(replace(context, vm=machine), booting.Options(**options)).first

    assert chosen() is host
    assert chosen(accel="tcg") is first
    assert chosen(evict=True) is first
    assert chosen(replace(IMAGE, hypervisor="kvm")) is None
    assert xens.choose("auto", host, require_kvm=False) == Accelerator("xen", "host", xens.HOST_FACTOR, False, None)
    with pytest.raises(UsageError):
        xens.choose("warp", None, require_kvm=False)
