"""The QEMU machine in which Xen runs: its files, and QEMU's arguments."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.boot import domain
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DirectKernel, DiskPlace, blockdev
from roost.condor.hardware import Hardware
from roost.errors import UsageError

#: MiB of the first domain, and of Xen itself in addition to the domains.
FIRST_DOMAIN, HYPERVISOR = 512, 192
#: The machine's memory is a multiple of this many MiB: a saved machine is restored only with the same.
STEP = 256
#: Most disks of a domain: the first domain's names for them end with /dev/vdz.
MOST_DISKS = ord("z") - ord(domain.FIRST) + 1
#: PCI slots of q35 for disks, and that of the ports.
_SLOTS, _PORTS = range(2, 0x1D), 0x1D
#: Files of the scratch directory, which is QEMU's working directory: their names contain no user input.
_ROOT, _FILES = "dom0-root", "domain-files"
#: An empty file in the place of every other disk of a machine that is saved.
BLANK = "blank"


@dataclass(frozen=True, slots=True)
class FirstDomain:
    """The files of Xen and its first domain, absolute."""

    hypervisor: Path
    kernel: Path
    initrd: Path
    root: Path


def lay_out(first: FirstDomain, directory: Path) -> None:
    """Put the files that QEMU starts into its directory, under names without commas and blanks."""
    for name, path in (
        ("xen", first.hypervisor), ("dom0-kernel", first.kernel), ("dom0-initrd", first.initrd),
        (_ROOT, first.root),
    ):  # fmt: skip
        (directory / name).symlink_to(path)


def pack(hardware: Hardware, direct: DirectKernel | None, directory: Path) -> None:
    """Write the archive of the domain's files into QEMU's directory."""
    with tarfile.open(directory / _FILES, "w", format=tarfile.USTAR_FORMAT) as tar:
        _add(tar, domain.CONFIGURATION, domain.configuration(hardware).encode())
        kernel, initrd = (direct.kernel, direct.initrd) if direct else (None, None)
        for name, file in ((domain.KERNEL, kernel), (domain.INITRD, initrd)):
            if file is not None:
                _add(tar, name, file.read_bytes())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def qemu_argv(
    hardware: Hardware,
    accelerator: Accelerator,
    program: str,
    places: Mapping[str, DiskPlace],
    channels: Channels,
) -> list[str]:
    """Return QEMU's argument list for Xen, its first domain and the disks of the domain; pure.

    File names are relative to QEMU's directory, where `Xen` puts them. Raises `UsageError` for more disks than there
    are slots.
    """
    if len(hardware.disks) > MOST_DISKS:
        raise UsageError(f"{len(hardware.disks)} disks are more than the test boot under Xen takes")
    disks = [(disk.target, blockdev(disk, places[disk.target])) for disk in hardware.disks]
    nodes = [(name, _readonly(name, name)) for name in (_ROOT, _FILES)] + disks
    return _argv(hardware, accelerator, program, nodes, channels)


def blank_argv(hardware: Hardware, accelerator: Accelerator, program: str, channels: Channels) -> list[str]:
    """Return QEMU's argument list for the same machine with blank disks; pure."""
    blanks = [f"{BLANK}-{number}" for number in range(1 + len(hardware.disks))]
    nodes = [(_ROOT, _readonly(_ROOT, _ROOT)), *((name, _readonly(name, BLANK)) for name in blanks)]
    return _argv(hardware, accelerator, program, nodes, channels)


def _argv(
    hardware: Hardware,
    accelerator: Accelerator,
    program: str,
    nodes: Sequence[tuple[str, dict[str, Any]]],
    channels: Channels,
) -> list[str]:
    """Return QEMU's argument list with the block nodes, by name, in the order in which the first domain sees them."""
    memory = -(-(FIRST_DOMAIN + hardware.memory + HYPERVISOR) // STEP) * STEP
    argv = [program, "-name", "guest=xen", "-S", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-machine", "q35,usb=off,dump-guest-core=off", "-accel", accelerator.name, "-cpu", accelerator.cpu]
    argv += ["-m", str(memory), "-smp", "2", "-rtc", "base=utc", "-no-reboot", "-no-shutdown"]
    argv += ["-chardev", f"socket,id=qmp,fd={channels.qmp}", "-mon", "chardev=qmp,mode=control"]
    argv += ["-chardev", "file,id=dom0,path=log/dom0.log,append=on", "-serial", "chardev:dom0"]
    xen = f"spec-ctrl=no xpti=0 bootscrub=0 dom0_mem={FIRST_DOMAIN}M,max:{FIRST_DOMAIN}M dom0_max_vcpus=1"
    # The first domain's root is named by its device: a disk of the image may have any label and UUID.
    linux = "root=/dev/vda1 ro console=hvc0 quiet init=/usr/lib/roost-dom0/start"
    argv += ["-kernel", "xen", "-append", f"{xen} console=com1 com1=115200 loglvl=warning"]
    argv += ["-initrd", f"dom0-kernel {linux},dom0-initrd"]
    for number, (name, node) in enumerate(nodes):
        disk = {"driver": "virtio-blk-pci", "id": f"disk-{name}", "drive": name, "addr": f"{_SLOTS[number]:#x}"}
        argv += ["-blockdev", json.dumps(node), "-device", json.dumps(disk)]
    argv += ["-device", json.dumps({"driver": "virtio-serial-pci", "id": "ports", "addr": f"{_PORTS:#x}"})]
    for name, descriptor in ((domain.CONSOLE, channels.serial), (domain.CONTROL, channels.firmware)):
        identity = name.rpartition(".")[2]
        argv += ["-chardev", f"socket,id={identity},fd={descriptor}"]
        argv += ["-device", json.dumps({"driver": "virtserialport", "chardev": identity, "name": name})]
    return argv


def _readonly(node: str, name: str) -> dict[str, Any]:
    file = {"driver": "file", "filename": name, "read-only": True, "auto-read-only": False}
    return {"driver": "raw", "node-name": node, "read-only": True, "file": file}
