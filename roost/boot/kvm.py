"""QEMU's command line for the hardware that libvirt gives to an HTCondor job. Pure.

Differences from libvirt, and why: QEMU is driven through inherited sockets, not by libvirtd; a writable disk is a
throw-away qcow2 layer, so that the image is only ever opened for reading; the serial port is read; SeaBIOS' debug port,
which no guest uses, shows whether it found something to boot; a reset ends the run like a shutdown, because under
HTCondor the guest would reboot forever; every network is QEMU's user-mode one; and TCG, which has no host CPU to pass
through, emulates all the features it can (`-cpu max`) and accesses files as is quickest for it (`qemu.has_ring`).
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DirectKernel, DiskPlace, blockdev
from roost.condor.hardware import AttachedDisk, Hardware
from roost.errors import UsageError

#: q35: libvirt gives each device its own root port; eight functions a slot, starting at slot 2.
_PORT_SLOT = 2
#: The network back end of every machine that has a network.
_NETWORK = "user,id=net0"


def qemu_argv(
    hardware: Hardware,
    accelerator: Accelerator,
    program: str,
    places: Mapping[str, DiskPlace],
    channels: Channels,
    direct: DirectKernel | None = None,
) -> list[str]:
    """Return the argument list; `places` is keyed by the disks' targets (vda ...), paths are absolute.

    QEMU starts stopped. `direct` is the kernel of a machine that takes one from outside its image.

    Raises `UsageError` for a xen machine, which QEMU cannot run by itself.
    """
    if hardware.machine == "xenpv":
        raise UsageError("QEMU alone cannot boot a xen machine", hint="--hypervisor kvm")
    argv = [program, "-name", f"guest={_escaped(hardware.name)}", "-S", "-nodefaults", "-no-user-config"]
    argv += ["-machine", f"{hardware.machine},usb=off,dump-guest-core=off", "-accel", accelerator.name]
    argv += ["-cpu", accelerator.cpu, "-m", str(hardware.memory)]
    argv += ["-smp", f"{hardware.vcpus},sockets={hardware.vcpus},cores=1,threads=1"]
    argv += ["-rtc", "base=utc", "-no-reboot", "-no-shutdown", "-boot", "strict=on", "-display", "none"]
    argv += ["-chardev", f"socket,id=qmp,fd={channels.qmp}", "-mon", "chardev=qmp,mode=control"]
    argv += ["-chardev", f"socket,id=serial,fd={channels.serial}"]
    argv += ["-device", "isa-serial,chardev=serial,id=serial0,index=0"]
    argv += ["-chardev", f"socket,id=firmware,fd={channels.firmware}"]
    argv += ["-device", "isa-debugcon,iobase=0x402,chardev=firmware"]
    if hardware.bootloader == "kernel":
        if direct is None:
            raise UsageError("this machine boots a kernel outside its image, and no kernel is given")
        argv += ["-kernel", str(direct.kernel), "-append", hardware.cmdline or ""]
        if direct.initrd is not None:
            argv += ["-initrd", str(direct.initrd)]
    for word, options in _devices(hardware, places, accelerator.ring):
        argv += [word, json.dumps(options) if isinstance(options, dict) else options]
    return argv


def reached(argv: Sequence[str], port: int, *, closed: bool) -> list[str]:
    """Return the argument list with a free port of this host's loopback forwarded to one of the guest's.

    With a `closed` network the guest reaches nothing.
    """
    network = f"{_NETWORK},restrict={'on' if closed else 'off'},hostfwd=tcp:127.0.0.1:0-:{port}"
    return [network if word == _NETWORK else word for word in argv]


def _escaped(text: str) -> str:
    # QemuOpts: a comma in a value is doubled.
    return text.replace(",", ",,")


def _devices(
    hardware: Hardware, places: Mapping[str, DiskPlace], ring: bool
) -> Iterator[tuple[str, str | dict[str, Any]]]:
    q35 = hardware.machine == "q35"
    if q35:
        for number in range(len(hardware.pci)):
            yield "-device", _root_port(number)
    else:
        yield "-device", "piix3-usb-uhci,id=usb,bus=pci.0,addr=0x1.0x2"
    if hardware.vnc:
        # libvirt's default where the domain names no model; it differs from QEMU's.
        place = {"bus": "pcie.0", "addr": "0x1"} if q35 else {"bus": "pci.0", "addr": "0x2"}
        yield "-device", {"driver": "cirrus-vga", "id": "video0", **place}
    for name in ("usb", *(member for member in hardware.pci if member.startswith("scsi"))):
        if name == "usb" and q35:
            yield "-device", {"driver": "qemu-xhci", "id": "usb", **_slot(hardware, "usb")}
        elif name != "usb":
            yield "-device", {"driver": "lsi53c895a", "id": name, **_slot(hardware, name)}
    for disk in hardware.disks:
        yield "-blockdev", blockdev(disk, places[disk.target], ring=ring)
        device = _disk_device(hardware, disk)
        # With io_uring a request is sent by the virtual CPU's own thread: waking another one takes longer.
        yield "-device", {**device, "ioeventfd": False} if ring and disk.bus == "virtio" else device
    if hardware.network:
        yield "-netdev", _NETWORK
        model = {"virtio": "virtio-net-pci", "e1000": "e1000"}[hardware.network.model]
        card = {"driver": model, "id": "card0", "netdev": "net0", **_slot(hardware, "network")}
        yield "-device", {**card, "mac": hardware.network.mac} if hardware.network.mac else card
    yield "-device", {"driver": "virtio-balloon-pci", "id": "balloon0", **_slot(hardware, "balloon")}


def _root_port(number: int) -> dict[str, Any]:
    slot, function = _PORT_SLOT + number // 8, number % 8
    port: dict[str, Any] = {"driver": "pcie-root-port", "id": f"pci.{number + 1}", "bus": "pcie.0"}
    port |= {"chassis": number + 1, "port": slot * 8 + function, "addr": f"{slot:#x}.{function:#x}"}
    if function == 0:
        port["multifunction"] = True
    return port


def _slot(hardware: Hardware, member: str) -> dict[str, Any]:
    """Return the PCI address of a member of `hardware.pci`."""
    place = hardware.pci.index(member)
    if hardware.machine == "q35":
        return {"bus": f"pci.{place + 1}", "addr": "0x0"}
    return {"bus": "pci.0", "addr": f"{hardware.first_slot + place:#x}"}


def _disk_device(hardware: Hardware, disk: AttachedDisk) -> dict[str, Any]:
    device: dict[str, Any] = {"id": f"disk-{disk.target}", "drive": disk.target}
    if disk.boot_index is not None:
        device["bootindex"] = disk.boot_index
    kind = "cd" if disk.cdrom else "hd"
    if disk.bus == "virtio":
        return {"driver": "virtio-blk-pci", **_slot(hardware, disk.target), **device}
    if disk.bus == "ide":
        return {"driver": f"ide-{kind}", "bus": f"ide.{disk.controller}", "unit": disk.unit, **device}
    place = {"bus": f"scsi{disk.controller}.0", "channel": 0, "scsi-id": disk.unit, "lun": 0}
    return {"driver": f"scsi-{kind}", **place, **device}
