"""QEMU's command line: HTCondor's hardware, the image opened for reading only, names that mean nothing special."""

from __future__ import annotations

import json
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DirectKernel, DiskPlace
from roost.boot.kvm import qemu_argv
from roost.condor.hardware import hardware
from roost.condor.machine import MachineKernel, Network, VirtualMachine, VmDisk
from roost.errors import UsageError

TCG = Accelerator("tcg", "max", 6.0, True, None)


def _argv(
    *disks: VmDisk,
    machine: str = "pc",
    network: Network = "none",
    kernel: MachineKernel | None = None,
    vnc: bool = False,
) -> list[str]:
    vm = VirtualMachine("debian-12", "kvm", 1024, 2, disks, network=network, kernel=kernel, vnc=vnc)
    shape = hardware(vm, "q35" if machine == "q35" else "pc")
    places = {
        disk.target: DiskPlace(Path("/images") / disk.file, None if disk.readonly else Path(f"/scratch/{disk.target}"))
        for disk in shape.disks
    }
    direct = DirectKernel(Path("/images/vmlinuz"), Path("/images/initrd,img")) if kernel else None
    return qemu_argv(shape, TCG, "qemu-system-x86_64", places, Channels(3, 4, 5), direct)


def _options(argv: list[str], word: str) -> list[Any]:
    values = [value for flag, value in pairwise(argv) if flag == word]
    return [json.loads(value) if value.startswith("{") else value for value in values]


def _device(argv: list[str], identifier: str) -> dict[str, Any]:
    return next(one for one in _options(argv, "-device") if isinstance(one, dict) and one.get("id") == identifier)


ROOT = VmDisk("root.qcow2", "vda", "w", "qcow2")
IO = VmDisk("io.raw", "vdb", "w", "raw")


def test_the_machine_of_the_reference() -> None:
    argv = _argv(ROOT, IO)
    for words in (
        ["-machine", "pc,usb=off,dump-guest-core=off"],
        ["-accel", "tcg"],
        ["-cpu", "max"],
        ["-m", "1024"],
        ["-smp", "2,sockets=2,cores=1,threads=1"],
        ["-boot", "strict=on"],
        ["-display", "none"],
        ["-device", "piix3-usb-uhci,id=usb,bus=pci.0,addr=0x1.0x2"],
    ):
        assert words in [argv[start : start + 2] for start in range(len(argv))]
    assert {"-S", "-nodefaults", "-no-reboot", "-no-shutdown"} <= set(argv)
    assert _device(argv, "disk-vda") == {
        "driver": "virtio-blk-pci",
        "bus": "pci.0",
        "addr": "0x2",
        "id": "disk-vda",
        "drive": "vda",
        "bootindex": 1,
    }
    assert "bootindex" not in _device(argv, "disk-vdb")
    assert _device(argv, "balloon0")["addr"] == "0x4"
    assert "-netdev" not in argv


def test_images_are_opened_for_reading_only_and_never_probed() -> None:
    root, io = _options(_argv(ROOT, IO), "-blockdev")
    assert root["backing"]["read-only"] is True
    assert root["backing"]["file"] == {
        "driver": "file",
        "filename": "/images/root.qcow2",
        "read-only": True,
        "auto-read-only": False,
    }
    assert (root["driver"], root["backing"]["driver"], io["backing"]["driver"]) == ("qcow2", "qcow2", "raw")
    assert root["file"]["filename"] == "/scratch/vda"


def test_a_read_only_disk_has_no_layer() -> None:
    _, data = _options(_argv(ROOT, VmDisk("data.raw", "vdb", "r", "raw")), "-blockdev")
    assert (data["driver"], data["read-only"]) == ("raw", True)
    assert "backing" not in data


def test_the_network_comes_first_on_the_bus() -> None:
    argv = _argv(ROOT, network="nat")
    assert _device(argv, "card0")["addr"] == "0x2"
    assert _device(argv, "disk-vda")["addr"] == "0x3"
    assert _options(argv, "-netdev") == ["user,id=net0"]


def test_a_screen_is_libvirts_and_takes_the_first_slot() -> None:
    argv = _argv(ROOT, vnc=True)
    assert _device(argv, "video0") == {"driver": "cirrus-vga", "id": "video0", "bus": "pci.0", "addr": "0x2"}
    assert _device(argv, "disk-vda")["addr"] == "0x3"
    assert _device(_argv(ROOT, machine="q35", vnc=True), "video0")["bus"] == "pcie.0"
    assert argv[argv.index("-display") :][:2] == ["-display", "none"]


def test_other_buses() -> None:
    argv = _argv(VmDisk("a.raw", "sda", "w", "raw"), VmDisk("b.raw", "hda", "w", "raw"))
    assert _device(argv, "scsi0")["driver"] == "lsi53c895a"
    assert _device(argv, "disk-sda")["bus"] == "scsi0.0"
    assert (_device(argv, "disk-hda")["driver"], _device(argv, "disk-hda")["bus"]) == ("ide-hd", "ide.0")


def test_q35_gives_each_device_a_port() -> None:
    argv = _argv(ROOT, IO, machine="q35")
    devices = [one for one in _options(argv, "-device") if isinstance(one, dict)]
    assert len([one for one in devices if one["driver"] == "pcie-root-port"]) == 4
    assert _device(argv, "disk-vda")["bus"] == "pci.2"
    assert {"driver": "qemu-xhci", "id": "usb", "bus": "pci.1", "addr": "0x0"} in devices


def test_odd_names_stay_names() -> None:
    odd = VmDisk("a,b=c{'\"}.raw", "vda", "w", "raw")
    (disk,) = _options(_argv(odd), "-blockdev")
    assert disk["backing"]["file"]["filename"] == "/images/a,b=c{'\"}.raw"


def test_a_kernel_outside_of_the_image() -> None:
    argv = _argv(
        ROOT, kernel=MachineKernel("vmlinuz", "initrd,img", "/dev/vda1", "root=UUID=1 ro console=ttyS0,115200")
    )
    assert argv[argv.index("-append") + 1] == "root=UUID=1 ro console=ttyS0,115200"
    assert argv[argv.index("-initrd") + 1] == "/images/initrd,img"
    assert "bootindex" not in _device(argv, "disk-vda")


def test_xen_is_not_booted_here() -> None:
    vm = VirtualMachine("x", "xen", 512, 1, (VmDisk("root.raw", "xvda", "w", "raw"),))
    with pytest.raises(UsageError):
        qemu_argv(hardware(vm), TCG, "qemu-system-x86_64", {}, Channels(3, 4, 5))


def test_with_a_ring_files_are_read_through_it_and_requests_sent_by_the_cpus_thread() -> None:
    vm = VirtualMachine("debian-12", "kvm", 1024, 2, (ROOT, IO, VmDisk("data.raw", "hda", "w", "raw")))
    shape = hardware(vm, "pc")
    places = {one.target: DiskPlace(Path("/images") / one.file, Path("/scratch/layer")) for one in shape.disks}
    ring = replace(TCG, ring=True)
    argv = qemu_argv(shape, ring, "qemu-system-x86_64", places, Channels(3, 4, 5))
    for disk in _options(argv, "-blockdev"):
        assert disk["file"]["aio"] == disk["backing"]["file"]["aio"] == "io_uring"
    events = {name: _device(argv, f"disk-{name}").get("ioeventfd") for name in ("vda", "vdb", "hda")}
    # An IDE disk has no such property.
    assert events == {"vda": False, "vdb": False, "hda": None}
    assert "io_uring" not in " ".join(_argv(ROOT, IO))
