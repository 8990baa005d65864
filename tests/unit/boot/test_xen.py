"""A machine of Xen's: the domain's configuration, QEMU's arguments, what the first domain tells, the verdict of it."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roost.boot import domain, xen, xen_machine, xen_session
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DiskPlace
from roost.boot.console import SERIAL, Console
from roost.boot.evidence import Evidence
from roost.boot.monitor import Event
from roost.boot.verdict import judge
from roost.boot.watch import BootPlan, Watch, decide, timeline
from roost.condor.from_submit import virtual_machine
from roost.condor.hardware import Hardware, HypervisorRefusalError, hardware
from roost.condor.lint import lint_text
from roost.condor.machine import MachineKernel, VirtualMachine, VmDisk
from roost.errors import ImageError, UsageError

INCLUDED = VirtualMachine(
    "smoke", "xen", 256, 2, (VmDisk("root.raw", "xvda", "w", "raw"), VmDisk("io.raw", "xvdb", "r", "raw"))
)
FILES = replace(
    INCLUDED, kernel=MachineKernel("/k/vmlinuz", "/k/initrd.img", "/dev/xvda1", 'root=LABEL=a ro quoted="x\\y"')
)
TCG = Accelerator("tcg", "max", 4.0, True, None, 2.0)


def places(shape: Hardware) -> dict[str, DiskPlace]:
    return {disk.target: DiskPlace(Path("/i") / disk.file, Path("/s") / f"{disk.target}.qcow2") for disk in shape.disks}


def test_pygrub_reads_the_first_disk_and_the_targets_are_passed_on() -> None:
    text = domain.configuration(hardware(INCLUDED))
    assert 'bootloader = "pygrub"' in text
    assert "kernel" not in text
    assert "memory = 256\nvcpus = 2\n" in text
    assert '"format=raw, vdev=xvda, access=rw, target=/dev/vdc"' in text
    assert '"format=raw, vdev=xvdb, access=ro, target=/dev/vdd"' in text


def test_a_kernel_beside_the_image_gets_its_parameters_and_no_root_of_its_own() -> None:
    text = domain.configuration(hardware(FILES))
    assert "bootloader" not in text
    assert 'kernel = "/run/domain/vmlinuz"\nramdisk = "/run/domain/initrd.img"\n' in text
    assert 'cmdline = "root=LABEL=a ro quoted=\\"x\\\\y\\""' in text
    assert "xvda1" not in text


def test_partitions_as_targets_are_the_manuals_example() -> None:
    disks = (VmDisk("swap.img", "sda2", "w", "raw"), VmDisk("diskfile.img", "sda1", "w", "raw"))
    text = domain.configuration(hardware(replace(INCLUDED, disks=disks)))
    assert "vdev=sda1" in text
    assert "vdev=sda2" in text


def test_a_device_of_kvm_is_refused_as_libvirt_does() -> None:
    with pytest.raises(HypervisorRefusalError):
        hardware(replace(INCLUDED, disks=(VmDisk("root.raw", "vda", "w", "raw"),)))


@pytest.mark.parametrize(
    ("text", "written"),
    [('a"b', '"a\\"b"'), ("a\\b", '"a\\\\b"'), ("a\nb", '"a\\x0ab"'), ("ä", '"\\xc3\\xa4"'), ("\udcff", '"\\xff"')],
)
def test_strings_cannot_leave_their_quotes(text: str, written: str) -> None:
    assert domain.quoted(text) == written


def test_qemu_has_the_first_domain_the_files_and_the_disks_in_this_order() -> None:
    shape = hardware(INCLUDED)
    argv = xen_machine.qemu_argv(shape, xen.paced(TCG), "qemu", places(shape), Channels(3, 4, 5))
    devices = [json.loads(after) for word, after in pairwise(argv) if word == "-device"]
    disks = [one for one in devices if one["driver"] == "virtio-blk-pci"]
    assert [one["drive"] for one in disks] == ["dom0-root", "domain-files", "xvda", "xvdb"]
    assert [int(one["addr"], 16) for one in disks] == sorted(int(one["addr"], 16) for one in disks)
    nodes = [json.loads(after) for word, after in pairwise(argv) if word == "-blockdev"]
    assert nodes[0]["read-only"] is True
    assert nodes[2]["backing"]["read-only"] is True
    assert argv[argv.index("-cpu") + 1] == "Westmere"
    assert {one["name"] for one in devices if "name" in one} == {"roost.console", "roost.control"}


def test_more_disks_than_slots_are_refused() -> None:
    many = tuple(VmDisk(f"{chr(97 + number)}.raw", f"xvd{chr(97 + number)}", "w", "raw") for number in range(25))
    shape = hardware(replace(INCLUDED, disks=many))
    with pytest.raises(UsageError):
        xen_machine.qemu_argv(shape, TCG, "qemu", places(shape), Channels(3, 4, 5))


def test_what_is_not_tried_is_said() -> None:
    assert xen.untried(INCLUDED) == ()
    assert len(xen.untried(replace(INCLUDED, network="nat", vnc=True))) == 2
    assert xen.untried(replace(INCLUDED, hypervisor="kvm", network="nat"), checkpoint=True) == ()
    assert len(xen.untried(INCLUDED, checkpoint=True)) == 1


def test_that_there_is_no_network_is_said_before_the_boot() -> None:
    assert domain.warnings(INCLUDED) == ()
    assert domain.warnings(replace(INCLUDED, hypervisor="kvm", network="nat")) == ()
    (text,) = domain.warnings(replace(INCLUDED, network="nat"))
    assert "no network card" in text


class Sleeper:
    """A process that runs."""

    def poll(self) -> None:
        return None


def told(*messages: dict[str, Any] | bytes) -> xen_session.Domain:
    """Return a domain of which the first domain has told."""
    machine: Any = Sleeper()
    session = xen_session.Domain(machine, Console(SERIAL), Console(xen_session.TOOLS))
    session.firmware.feed(b"xl create: pygrub reads the first disk\n", 0.0)
    for one in messages:
        session.heard(one if isinstance(one, bytes) else json.dumps(one).encode() + b"\n")
    return session


def evidence(session: xen_session.Domain, console: bytes = b"") -> Evidence:
    session.serial.feed(console, 1.0)
    phases = timeline(session.serial.signs, session.firmware.signs, 0.5 if session.running else None)
    return Evidence(
        goal="job",
        stop="ended",
        phases=phases,
        serial=session.serial.signs,
        firmware=session.firmware.signs,
        events=tuple(session.events),
        exits=tuple(session.serial.exits),
        root_disk_seen=None,
    )


CREATED = {"event": "created", "domain": 1}
DONE = b"[    0.0] Linux version 6.1\nRun /init as init process\nroost: job started\nroost: job finished: exit 0\n"


def test_reason_0_and_the_guests_own_result_pass() -> None:
    session = told({"event": "ready", "xen": "4.17.7"}, CREATED, {"event": "shutdown", "reason": 0})
    assert session.version == "Xen 4.17.7"
    assert judge(evidence(session, DONE)).passed


def test_a_domain_that_is_gone_has_not_passed() -> None:
    without = judge(evidence(told(CREATED, {"event": "shutdown", "reason": 0}), b"[    0.0] Linux version 6.1\n"))
    assert (without.passed, without.cause) == (False, "job-failed")
    vanished = judge(evidence(told(CREATED, {"event": "shutdown", "reason": None}), DONE))
    assert not vanished.passed


@pytest.mark.parametrize(
    ("reason", "cause"),
    [(1, "rebooted"), (2, "job-timeout"), (3, "panic"), (4, "panic"), (5, "rebooted"), (99, "job-timeout")],
)
def test_every_other_reason_fails(reason: int, cause: str) -> None:
    session = told(CREATED, {"event": "shutdown", "reason": reason})
    verdict = judge(evidence(session, b"[    0.0] Linux version 6.1\nRun /init as init process\nroost: job started\n"))
    assert (verdict.passed, verdict.cause) == (False, cause)


PYGRUB = """Traceback (most recent call last):
  File "/usr/lib/xen-4.17/bin/pygrub", line 1096, in <module>
    raise RuntimeError("Unable to find partition containing kernel")
RuntimeError: Unable to find partition containing kernel
"""
XL_PYGRUB = """Parsing config from /run/domain/domain.cfg
libxl: error: libxl_bootloader.c:767:bootloader_finished: Domain 1:bootloader failed - consult logfile
libxl: error: libxl_create.c:1640:domcreate_rebuild_done: Domain 1:cannot (re-)build domain: -3
"""
XL_LOADER = """Parsing config from /run/domain/domain.cfg
xc: error: panic: xg_dom_core.c:689: xc_dom_find_loader: no loader found: Invalid kernel
libxl: error: libxl_dom.c:571:libxl__build_dom: xc_dom_parse_image failed
"""
XL_MEMORY = """Parsing config from /run/domain/domain.cfg
libxl: error: libxl_create.c:1207:initiate_domain_create: Domain 1:Unable to allocate memory
"""
XL_SMALL = """Parsing config from /run/domain/domain.cfg
xc: error: panic: xg_dom_core.c:536: xc_dom_chk_alloc_pages: segment module0 too large (0x160 > 0x4000 - 0x4000 pages)\
: Out of memory
libxl: error: libxl_dom.c:594:libxl__build_dom: xc_dom_build_image failed: No such file or directory
libxl: error: libxl_create.c:1640:domcreate_rebuild_done: Domain 1:cannot (re-)build domain: -3
"""
#: What is in the log of a pygrub that found its kernel.
PYGRUB_DONE = "Using <class 'grub.GrubConf.Grub2ConfigFile'> to parse /boot/grub/grub.cfg\n"


def test_an_image_without_a_kernel_is_known_at_once() -> None:
    session = told({"event": "failed", "status": 3, "said": XL_PYGRUB, "loader": PYGRUB})
    plan = BootPlan("job", 60.0, 10.0)
    assert (
        decide(plan, session.serial, session.firmware, session.events, Watch(), session.now + 5.0).why == "not-bootable"
    )
    verdict = judge(replace(evidence(session), stop="not-bootable"))
    assert verdict.cause == "no-boot-loader"
    why = "pygrub: RuntimeError: Unable to find partition containing kernel"
    assert verdict.detail == f"nothing to boot was found: {why}"


def test_a_kernel_that_xen_cannot_start_is_not_a_boot_loader() -> None:
    session = told({"event": "failed", "status": 3, "said": XL_LOADER, "loader": ""})
    verdict = judge(replace(evidence(session), stop="not-bootable"))
    assert verdict.cause == "no-boot-loader"
    assert verdict.detail == "Xen cannot start this kernel: no loader found: Invalid kernel"


def test_what_xen_refuses_is_the_hypervisors() -> None:
    session = told({"event": "failed", "status": 3, "said": XL_MEMORY, "loader": ""})
    assert session.refused is not None
    assert session.refused == "xl create: Domain 1:Unable to allocate memory"
    verdict = judge(Evidence(goal="job", stop="refused", refused=session.refused))
    assert verdict.cause == "hypervisor"


def test_memory_too_small_for_the_kernel_is_said_in_plain_words() -> None:
    session = told({"event": "failed", "status": 3, "said": XL_SMALL, "loader": PYGRUB_DONE})
    verdict = judge(Evidence(goal="job", stop="refused", refused=session.refused))
    assert verdict.cause == "hypervisor"
    said = "segment module0 too large (0x160 > 0x4000 - 0x4000 pages): Out of memory"
    assert session.refused == f"its memory is too small for its kernel and initrd: {said}"
    assert verdict.detail.startswith("the hypervisor does not start this machine: its memory is too small")


def test_the_end_of_the_first_domain_is_not_an_end_of_the_guest() -> None:
    session = told(CREATED)
    session.happened(Event(3.0, "SHUTDOWN", {"reason": "guest-shutdown"}))
    assert session.events == []
    assert session.refused is not None


def test_what_is_not_a_message_is_left_out() -> None:
    junk = [b"\xff\xfe\n", b"[1]\n", b'"x"\n', b"{\n", b'{"event": "shutdown"', b"\n", b"x" * (1 << 20)]
    session = told(*junk, {"event": "other"})
    assert session.events == []
    broken = told({"event": "failed", "said": 5, "loader": None})
    assert broken.refused == "xl create: it does not say why"


HEAD = "universe = vm\nexecutable = x\nvm_type = xen\nvm_memory = 256\nvm_disk = root.raw:xvda:w:qcow2\n"


def described(directory: Path, text: str) -> VirtualMachine:
    path = directory / "x.sub"
    path.write_text(f"{HEAD}{text}\nqueue\n")
    return virtual_machine(path)


def test_a_description_for_xen_is_a_xen_machine_with_raw_disks(tmp_path: Path) -> None:
    vm = described(tmp_path, "xen_kernel = included")
    assert (vm.hypervisor, vm.kernel) == ("xen", None)
    assert vm.disks == (VmDisk("root.raw", "xvda", "w", "raw"),)


def test_kernel_files_of_a_description_are_absolute(tmp_path: Path) -> None:
    words = "xen_initrd = /k/i\nxen_root = /dev/xvda1\nxen_kernel_params = root=LABEL=x ro"
    vm = described(tmp_path, f"xen_kernel = /k/v\n{words}")
    assert vm.kernel == MachineKernel("/k/v", "/k/i", "/dev/xvda1", "root=LABEL=x ro")
    for kernel in ("vmlinuz", "vmx", "./vmlinuz"):
        with pytest.raises(ImageError, match="not an absolute path"):
            described(tmp_path, f"xen_kernel = {kernel}\n{words}")


def test_an_io_disk_beside_a_kernel_in_the_image_is_not_a_warning() -> None:
    text = HEAD.replace("root.raw:xvda:w:qcow2", "root.raw:xvda:w:raw,io.raw:xvdb:w:raw") + "xen_kernel = included\n"
    inputs = "transfer_input_files = root.raw,io.raw\n"
    found = {one.rule.code for one in lint_text(f"{text}{inputs}queue\n", "x.sub", environment={}).findings}
    assert "xen-included-multi" in found
    returned = f"{text}{inputs}transfer_output_files = io.raw\nqueue\n"
    found = {one.rule.code for one in lint_text(returned, "x.sub", environment={}).findings}
    assert "xen-included-multi" not in found


def test_a_description_without_kernel_or_root_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ImageError, match="no xen_kernel"):
        described(tmp_path, "")
    with pytest.raises(ImageError, match="no xen_root"):
        described(tmp_path, "xen_kernel = /k/v")


def test_the_scripts_of_the_first_domain_are_sound() -> None:
    directory = Path(__file__).parents[3] / "recipes/base/xen-dom0"
    for name in ("start", "block"):
        subprocess.run(["sh", "-n", directory / name], check=True)
    subprocess.run(
        [sys.executable, "-c", f"compile(open({str(directory / 'domain')!r}).read(), 'domain', 'exec')"], check=True
    )


#: Stands in for Xen's binding: there is no domain before one was made, and looking for one raises.
BINDING = """
class Error(Exception):
    pass


class xc:
    def xeninfo(self):
        return {"xen_major": 4, "xen_minor": 17, "xen_extra": ".7"}

    def domain_getinfo(self, *numbers):
        raise Error(3, "No such process")
"""


def test_an_image_without_a_kernel_is_reported_by_the_first_domain(tmp_path: Path) -> None:
    """Run the program of the first domain with pipes for ports, and an xl that fails as xl does."""
    source = (Path(__file__).parents[3] / "recipes/base/xen-dom0/domain").read_text()
    (tmp_path / "xen/lowlevel").mkdir(parents=True)
    (tmp_path / "xen/lowlevel/xc.py").write_text(BINDING)
    (tmp_path / "xl").write_text("#!/bin/sh\necho 'libxl: error: x: Domain 1:bootloader failed' >&2\nexit 3\n")
    (tmp_path / "xl").chmod(0o755)
    (tmp_path / "log").write_text(PYGRUB)
    near, far = socket.socketpair()
    changed = source.replace("/usr/lib/xen-4.17/lib/python", str(tmp_path)).replace(
        "/var/log/xen/bootloader.1.log", str(tmp_path / "log")
    )
    changed = changed.replace('port("roost.control"), port("roost.console")', f"{far.fileno()}, {far.fileno()}")
    (tmp_path / "domain").write_text(changed)
    with (
        near,
        subprocess.Popen(
            [sys.executable, tmp_path / "domain", tmp_path / "domain-files"],
            env={**os.environ, "PATH": f"{tmp_path}:{os.environ['PATH']}"},
            pass_fds=[far.fileno()],
        ) as process,
    ):
        far.close()
        near.settimeout(60)
        lines = near.makefile("r")
        assert json.loads(lines.readline()) == {"event": "ready", "xen": "4.17.7"}
        near.sendall(b'{"do": "start"}\n')
        message = json.loads(lines.readline())
        process.kill()
    assert message["event"] == "failed"
    of_image, why = domain.not_started(message)
    assert of_image
    assert "Unable to find partition containing kernel" in why


def test_the_first_domain_takes_its_disks_in_the_order_of_their_slots(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Run the functions of the first domain on a directory in the place of /sys."""
    source = (Path(__file__).parents[3] / "recipes/base/xen-dom0/domain").read_text()
    for name in ("xen", "xen.lowlevel"):
        monkeypatch.setitem(sys.modules, name, SimpleNamespace(xc=None))
    devices, block = tmp_path / "bus/virtio/devices", tmp_path / "block"
    for number, kind in ((0, "0x0002"), (1, "0x0002"), (2, "0x0002"), (10, "0x0002"), (11, "0x0003")):
        (devices / f"virtio{number}").mkdir(parents=True)
        (devices / f"virtio{number}/device").write_text(f"{kind}\n")
    for name, sectors in (("vda", 8), ("vdc", 5), ("vdb", 2048), ("loop0", 1)):
        (block / name).mkdir(parents=True)
        (block / name / "size").write_text(f"{sectors}\n")
    (block / "vda/device").symlink_to(devices / "virtio0")
    written: list[tuple[str, str]] = []
    said: list[dict[str, Any]] = []
    clocks: list[float] = []
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.setattr("fcntl.ioctl", lambda file, request, *data: written.append(("seed", hex(request))))
    monkeypatch.setattr("time.clock_settime", lambda clock, now: clocks.append(now))
    monkeypatch.setattr("subprocess.run", lambda *argv, **options: None)
    changed = source.replace('"/sys', f'"{tmp_path}')
    program: dict[str, Any] = {}
    exec(compile(changed[: changed.index('rest = b""')], "domain", "exec"), program)
    program["write"] = lambda path, word: written.append((Path(path).name, word))
    program["say"] = lambda **words: said.append(words)
    program["hypervisor"] = lambda: "4.17.7"
    program["release"]()
    assert written == [("unbind", f"virtio{number}") for number in (1, 2, 10)]
    written.clear()
    program["adopt"](5.5, "00" * 64)
    assert [one for one in written if one[0] == "bind"] == [("bind", f"virtio{number}") for number in (1, 2, 10)]
    assert written[0][0] == "seed"
    assert clocks == [5.5]
    assert said[-1] == {"event": "adopted", "xen": "4.17.7", "disks": [["vda", 8], ["vdb", 2048], ["vdc", 5]]}
