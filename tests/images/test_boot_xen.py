"""Images on a real Xen, in QEMU: the same verdicts as under kvm, and the faults that only Xen has."""

from __future__ import annotations

import gzip
import json
import re
import struct
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.host import bzimage
from tests.images.calls import Ran, build, roost

# A first boot builds Xen's first domain.
pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(1200)]

BOTH = """\
extends: [smoke.yaml]
name: both
hypervisors: !replace [kvm, xen]
kernel: {placement: both}
"""
#: The manual's example of a xen machine: file systems without a table, named as partitions.
MANUAL = """\
extends: [smoke.yaml]
name: manual
hypervisors: !replace [xen]
kernel: {placement: external}
files:
  - {path: /opt/job/run, mode: "0755", content: "#!/bin/sh\\ncp /proc/swaps /proc/mounts $ROOST_OUTPUT\\n"}
disks: !replace
  - {name: swap, filesystem: swap, size: 16MiB, device: sda2}
  - {name: diskfile, filesystem: ext4, mount: /, free: 16MiB, device: sda1}
  - {name: io, filesystem: ext4, size: 16MiB, role: io, device: xvdb}
boot_test:
  timeout: 1min
  evict: false
  expect: !replace
    - {file: /output/swaps, on: io, matches: "^/dev/xvda2 "}
    - {file: /output/mounts, on: io, matches: "^/dev/(root|xvda1) / ext4 "}
"""
SUB = """\
universe       = vm
executable     = broken
vm_type        = xen
vm_memory      = 256
request_memory = 256
vm_disk        = root.raw:xvda:w:raw
xen_kernel     = included
queue
"""
GRUB = "/boot/grub/grub.cfg"


@pytest.fixture
def both(project: Path) -> Path:
    """Return the directory of an image for kvm and xen, with its kernel in it and beside it."""
    (project / "recipes/both.yaml").write_text(BOTH)
    return build("both", cwd=project)


def _boot(project: Path, name: str, *more: str) -> Ran:
    return roost("boot", name, "--json", *more, cwd=project, timeout=1100)


def _grub(directory: Path, change: Callable[[str], str]) -> None:
    """Change grub.cfg on root.raw, whose file system begins at 1 MiB."""
    disk = "root.raw?offset=1048576"
    argv = ["debugfs", "-w", "-R"]
    old = subprocess.run([*argv, f"cat {GRUB}", disk], cwd=directory, capture_output=True, check=True).stdout.decode()
    new = change(old)
    assert new != old, old
    (directory / "new").write_text(new)
    for request in (f"rm {GRUB}", f"write new {GRUB}"):
        subprocess.run([*argv, request, disk], cwd=directory, capture_output=True, check=True)


def _without_notes(kernel: Path) -> bytes:
    """Return the kernel with another payload at its end: the same, but its notes (elf(5)) are not Xen's any more."""
    unpacked, data = bzimage.unpacked(kernel), bytearray(kernel.read_bytes())
    assert unpacked is not None
    # namesz is 4, and descsz and the type are small: a note, not any text that says Xen.
    changed, notes = re.subn(rb"(\x04\0{3}[\0-\x40]\0{3}[\0-\x40]\0{3})Xen\0", rb"\1Zen\0", unpacked)
    assert notes, "this kernel has no notes of Xen's"
    payload = gzip.compress(changed, 1) + struct.pack("<I", len(changed))
    start = ((data[0x1F1] or 4) + 1) * 512
    struct.pack_into("<II", data, 0x248, len(data) - start, len(payload))
    return bytes(data) + payload


def test_the_kernel_in_the_image_and_the_one_beside_it(project: Path, both: Path, tmp_path: Path) -> None:
    assert (both / "root.qcow2").exists()
    before = {path.name: path.stat().st_mtime_ns for path in both.iterdir() if path.suffix in {".raw", ".img"}}
    ran = _boot(project, "both", "--hypervisor", "xen")
    assert ran.code == 0, ran.out + ran.err
    answer = ran.answer
    assert (answer["passed"], answer["hypervisor"], answer["machine"]) == (True, "xen", "xenpv")
    assert {one["name"] for one in answer["disks"]} == {"root.raw", "io.raw"}
    assert {"xen", "boot-loader", "kernel", "job", "power-off"} <= answer["seconds"].keys()
    console = (both / "boot/xen/serial.log").read_text(errors="replace")
    assert "Hypervisor detected: Xen" in console
    assert "roost: job finished: exit 0" in console
    assert "<title>" in Path(answer["report"]).read_text()
    assert {path.name: path.stat().st_mtime_ns for path in both.iterdir() if path.name in before} == before
    # The same disks, and a kernel named by its absolute path: as submit.xen_kernel: files describes it.
    text = BOTH.replace("name: both", "name: files") + "submit: {xen_kernel: files}\n"
    (project / "recipes/files.yaml").write_text(text)
    directory = build("files", cwd=project)
    assert f"xen_kernel           = {directory}/vmlinuz" in (directory / "xen.sub").read_text()
    ran = roost("boot", str(directory / "xen.sub"), "--json", cwd=tmp_path, timeout=1100)
    assert ran.code == 0, ran.out + ran.err
    assert {one["name"] for one in ran.answer["kernel"]} == {"vmlinuz", "initrd.img"}


def test_partitions_as_devices_are_where_the_manual_says(project: Path) -> None:
    (project / "recipes/manual.yaml").write_text(MANUAL)
    build("manual", cwd=project)
    ran = _boot(project, "manual")
    assert ran.code == 0, ran.out + ran.err
    assert ran.answer["hypervisor"] == "xen"


def test_each_fault_has_its_cause(project: Path, both: Path, tmp_path: Path) -> None:
    cases: dict[str, tuple[Callable[[str], str], str]] = {
        "unreadable": (lambda text: "linux (\n", "no-boot-loader"),
        "panic": (lambda text: text.replace(" ro ", " ro init=/bin/true ", 1), "panic"),
        # The words of the initrd reach Xen's console, whichever console is the last of the command line.
        "vda1": (lambda text: re.sub(r"root=UUID=\S+", "root=/dev/vda1", text), "no-root"),
    }
    for name, (change, cause) in cases.items():
        directory = tmp_path / f"case-{name}"
        directory.mkdir()
        subprocess.run(["cp", "--sparse=always", str(both / "root.raw"), str(directory)], check=True)
        (directory / "broken.sub").write_text(SUB)
        _grub(directory, change)
        ran = _boot(project, str(directory / "broken.sub"))
        assert ran.code == 1, ran.out + ran.err
        assert ran.answer["cause"] == cause, json.dumps(ran.answer, indent=1)
        assert (directory / "broken.boot/xen/serial.log").exists()


def test_each_fault_of_a_kernel_beside_the_image_has_its_cause(project: Path, both: Path, tmp_path: Path) -> None:
    text = (both / "xen-files.sub").read_text()
    directory = tmp_path / "beside"
    directory.mkdir()
    subprocess.run(["cp", "--sparse=always", str(both / "root.raw"), str(both / "io.raw"), str(directory)], check=True)
    (directory / "kernel").write_bytes(_without_notes(both / "vmlinuz"))
    cases: dict[str, tuple[str, str, str, str]] = {
        "notes": (str(both / "vmlinuz"), str(directory / "kernel"), "no-boot-loader", "Xen cannot start this kernel"),
        # What libvirt drops is not there: xen_root alone names no root to the guest.
        "root": (r"root=UUID=\S+ ro", "ro", "no-root", "no root file system"),
    }
    for name, (old, new, cause, words) in cases.items():
        changed, count = re.subn(old, new, text)
        assert count
        (directory / f"{name}.sub").write_text(changed)
        ran = _boot(project, str(directory / f"{name}.sub"))
        assert ran.code == 1, ran.out + ran.err
        assert ran.answer["cause"] == cause, json.dumps(ran.answer, indent=1)
        assert words in ran.answer["detail"]
