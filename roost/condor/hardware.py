"""What libvirt makes of HTCondor's domain: the virtual hardware that a job's guest meets. Pure.

HTCondor's script (libvirt_simple_script.awk) writes a domain with disks, at most one network card and a console,
and leaves all else to libvirt. `hardware` adds what libvirt adds, as `virsh domxml-to-native` of libvirt 9.0 (QEMU
7.2) and 11.3 (QEMU 10.0) shows, and refuses what libvirt refuses at start, where HTCondor then takes the machine
offline. The test boot renders QEMU's argument list from the result, so what boots there is what a job gets.

Of the machine that QEMU must be given beside the fields of `Hardware`:
- SeaBIOS, ACPI on, `-nodefaults`, `-boot strict=on`: only the disk with a `boot_index` is tried, no fallback;
- one isa-serial port, ttyS0, whose output nobody keeps; no graphics card and no screen, with `vnc` a cirrus-vga;
- a memory balloon; no random-number device, no panic device, no guest agent, no watchdog;
- `-cpu host` under KVM, on_poweroff destroy, on_reboot restart, on_crash restart;
- USB that nothing is plugged into: piix3-uhci on pc, qemu-xhci on q35.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Literal

from roost.condor.machine import Network, VirtualMachine, VmDisk
from roost.errors import ImageError, Problem, SeveralProblemsError
from roost.recipe.hypervisor import Hypervisor

MachineType = Literal["pc", "q35", "xenpv"]
Bus = Literal["ide", "scsi", "virtio", "xen"]

_TARGET = re.compile(r"(?P<prefix>xvd|vd|sd|hd)(?P<letters>[a-z]{1,3})(?P<partition>\d*)")
_BUSES: dict[str, Bus] = {"hd": "ide", "sd": "scsi", "vd": "virtio", "xvd": "xen"}

#: Formats that libvirt 9.0 takes in a driver element; of these, raw and qcow2 are what roost makes.
FORMATS = frozenset(
    {"raw", "qcow2", "qcow", "qed", "cow", "vmdk", "vdi", "vpc", "vhd", "bochs", "cloop", "dmg", "fat", "ploop"}
)
_MAC = re.compile(r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}")

#: lsi53c895a, the controller that libvirt gives pc and q35 for sdX, has seven targets.
_LSI_TARGETS = 7
_IDE_DISKS = 4


class HypervisorRefusalError(SeveralProblemsError, ImageError):
    """libvirt would refuse this machine at start; `problems` has every reason (exit code 1)."""


@dataclass(frozen=True, slots=True)
class AttachedDisk:
    """One disk as libvirt attaches it.

    `target` is the device of vm_disk, `bus` what its prefix means, `index` its place among all possible targets of
    that bus (vda 0, vdb 1). `controller` and `unit` are the place on an ide or scsi bus: ide.CONTROLLER with unit 0
    or 1, scsiCONTROLLER.0 with scsi-id UNIT; both are 0 for virtio and xen. `boot_index` is 1 for the one disk that
    the firmware boots, None for the others. A `cdrom` is always read-only.
    """

    file: str
    format: str
    target: str
    bus: Bus
    index: int
    controller: int
    unit: int
    readonly: bool
    cdrom: bool
    boot_index: int | None


@dataclass(frozen=True, slots=True)
class NetworkCard:
    """The one network card: what it is connected to, its model, its address (None: libvirt makes one up)."""

    network: Network
    model: Literal["virtio", "e1000"]
    mac: str | None


@dataclass(frozen=True, slots=True)
class Hardware:
    """The machine that a guest meets; `disks` in the order in which libvirt attaches them.

    `memory` in MiB. `pci` names the devices that take a PCI slot, in libvirt's order, so that a guest's interface
    has the name that it has under HTCondor: on pc the first gets slot `first_slot` of pci.0, on q35 each has a
    pcie-root-port of its own, the first leading to bus 1. Members are `network`, `usb` (q35 only: on pc it is
    function 2 of slot 1), `scsi0`, ... , the target of each virtio disk, and `balloon`. (On q35 libvirt puts scsi
    behind a pcie-to-pci bridge, which then has the first root port.)
    `kernel`, `initrd` and `cmdline` are set for a kernel outside the image; HTCondor itself gives them to xen
    machines only, a test boot under kvm can use them. `bootloader` is what else starts the guest.
    """

    name: str
    hypervisor: Hypervisor
    machine: MachineType
    memory: int
    vcpus: int
    disks: tuple[AttachedDisk, ...]
    network: NetworkCard | None
    pci: tuple[str, ...]
    bootloader: Literal["bios", "pygrub", "kernel"]
    kernel: str | None
    initrd: str | None
    cmdline: str | None
    vnc: bool
    serial: Literal["ttyS0", "hvc0"]

    @property
    def first_slot(self) -> int:
        """The slot of the first member of `pci` on pci.0 of a pc: 1 is the chipset, 2 the graphics card of VNC."""
        return 3 if self.vnc else 2

    @property
    def boot_disk(self) -> AttachedDisk | None:
        """The disk that the firmware boots: a CD only where there is nothing else; None when a kernel is given."""
        return next((disk for disk in self.disks if disk.boot_index is not None), None)


def hardware(
    machine: VirtualMachine, machine_type: Literal["pc", "q35"] = "pc", card: Literal["virtio", "e1000"] = "virtio"
) -> Hardware:
    """Return the hardware that libvirt gives to `machine`; q35 is its default on EL 10, pc elsewhere.

    `card` is e1000 in some HTCondor versions. A xen machine is always `xenpv`. Raises `HypervisorRefusalError`.
    """
    kind: MachineType = "xenpv" if machine.hypervisor == "xen" else machine_type
    if problems := tuple(refusals(machine, kind)):
        raise HypervisorRefusalError(problems)
    disks = in_attach_order([attach(disk) for disk in machine.disks])
    if machine.hypervisor == "kvm" and not machine.kernel:
        disks = _with_boot_index(disks)
    network = None if machine.network == "none" else NetworkCard(machine.network, card, machine.mac)
    if machine.kernel:
        bootloader: Literal["bios", "pygrub", "kernel"] = "kernel"
    else:
        bootloader = "pygrub" if machine.hypervisor == "xen" else "bios"
    return Hardware(
        name=machine.name,
        hypervisor=machine.hypervisor,
        machine=kind,
        memory=machine.memory,
        vcpus=machine.vcpus,
        disks=tuple(disks),
        network=network,
        pci=tuple(_pci(disks, network, kind)),
        bootloader=bootloader,
        kernel=machine.kernel.kernel if machine.kernel else None,
        initrd=machine.kernel.initrd if machine.kernel else None,
        cmdline=machine.kernel.parameters if machine.kernel else None,
        vnc=machine.vnc,
        serial="hvc0" if machine.hypervisor == "xen" else "ttyS0",
    )


def is_cdrom(file: str) -> bool:
    """Return whether HTCondor's script makes a CD-ROM of this file: `iso` anywhere in its path, in lower case."""
    return "iso" in file


def target_index(device: str) -> int:
    """Return the place of a device among those of its bus, as libvirt counts: vda 0, vdz 25, vdaa 26. Raises none."""
    match = _TARGET.fullmatch(device)
    index = 0
    for letter in match["letters"] if match else "":
        index = index * 26 + ord(letter) - ord("a") + 1
    return max(0, index - 1)


def attach(disk: VmDisk) -> AttachedDisk:
    """Return a disk of vm_disk on its bus, without a boot index; the device must be one that `refusals` accepts."""
    bus = _BUSES[_matched(disk.device)["prefix"]]
    index = target_index(disk.device)
    places = {"ide": (index // 2, index % 2), "scsi": (index // _LSI_TARGETS, index % _LSI_TARGETS)}
    controller, unit = places.get(bus, (0, 0))
    cdrom = is_cdrom(disk.file)
    return AttachedDisk(
        file=disk.file,
        format=disk.format or "raw",
        target=disk.device,
        bus=bus,
        index=index,
        controller=controller,
        unit=unit,
        # Only `r` emits <readonly/>; libvirt itself makes every CD-ROM read-only.
        readonly=disk.permission == "r" or cdrom,
        cdrom=cdrom,
        boot_index=None,
    )


def in_attach_order(disks: Iterable[AttachedDisk]) -> list[AttachedDisk]:
    """Return the disks in libvirt's order: by letter, and those of equal letters as vm_disk lists them.

    Buses do not count: vm_disk = root:vdb,data:hda boots data. HTCondor's script names no bus, and libvirt sorts
    (virDomainDiskInsert) before it reads one from the prefix: seen with libvirt 9.0 and 11.3.
    """
    return sorted(disks, key=lambda disk: disk.index)


def _with_boot_index(disks: Sequence[AttachedDisk]) -> list[AttachedDisk]:
    # A machine with CDs alone boots the first of them.
    first = next((disk for disk in disks if not disk.cdrom), disks[0] if disks else None)
    return [replace(disk, boot_index=1) if disk is first else disk for disk in disks]


def _pci(disks: Sequence[AttachedDisk], network: NetworkCard | None, kind: MachineType) -> Iterator[str]:
    """Yield the devices with a PCI slot, as qemuDomainAssignDevicePCISlots goes through them."""
    if kind == "xenpv":
        return
    if network:
        yield "network"
    if kind == "q35":
        yield "usb"
    # Controllers count from 0 without gaps: a lone sdp (target 1 of the third) brings three.
    controllers = max((disk.controller + 1 for disk in disks if disk.bus == "scsi"), default=0)
    yield from (f"scsi{number}" for number in range(controllers))
    yield from (disk.target for disk in disks if disk.bus == "virtio")
    yield "balloon"


def refusals(machine: VirtualMachine, kind: MachineType) -> Iterator[Problem]:
    """Yield every reason for which libvirt would not start this machine; HTCondor then sets HasVM = False."""
    taken: set[str] = set()
    for disk in machine.disks:
        yield from (Problem(f"{disk.file}: {what}", hint=hint) for what, hint in _disk_refusals(disk, kind))
        if disk.device in taken:
            yield Problem(f"{disk.file}: the device {disk.device} is used twice", hint="give each disk its own letter")
        taken.add(disk.device)
    if not machine.disks:
        yield Problem("the machine has no disk", hint="name one in vm_disk")
    if machine.mac is not None and machine.network != "none":
        if not _MAC.fullmatch(machine.mac):
            yield Problem(f"libvirt cannot read the address {machine.mac!r}", hint="such as 52:54:00:12:34:56")
        elif int(machine.mac.partition(":")[0], 16) & 1:
            yield Problem(f"{machine.mac} is a multicast address", hint="make the first pair an even number")


def _disk_refusals(disk: VmDisk, kind: MachineType) -> Iterator[tuple[str, str]]:
    match = _TARGET.fullmatch(disk.device)
    expected = "use xvda, xvdb ..." if kind == "xenpv" else "use vda, vdb ..."
    if match is None or ((match["prefix"] == "xvd") != (kind == "xenpv") and match["prefix"] in ("xvd", "vd")):
        yield f"libvirt does not know the device {disk.device!r} on this machine", expected
        return
    bus = _BUSES[match["prefix"]]
    if kind != "xenpv":
        if match["partition"]:
            yield f"{disk.device}: partitions can't appear in disk targets", "give a whole disk, such as vda"
        if bus == "ide":
            yield from _ide_refusals(disk, kind)
        if bus == "virtio" and is_cdrom(disk.file):
            yield f"{disk.device} cannot be the CD-ROM that 'iso' in the path makes", "rename the file"
        if disk.format is not None and disk.format not in FORMATS:
            yield f"unknown driver format value {disk.format!r}", "declare raw or qcow2, in lower case"


def _ide_refusals(disk: VmDisk, kind: MachineType) -> Iterator[tuple[str, str]]:
    if kind == "q35":
        yield f"{disk.device}: a q35 machine has no IDE controller", "use vda, vdb ..."
    elif target_index(disk.device) >= _IDE_DISKS:
        yield f"{disk.device}: there are only four IDE disks, hda to hdd", "use vda, vdb ..."
    if disk.permission == "r" and not is_cdrom(disk.file):
        yield f"{disk.device}: read-only IDE disks are not supported", "put the read-only disk on vdX"


def _matched(device: str) -> re.Match[str]:
    match = _TARGET.fullmatch(device)
    if match is None:
        raise ImageError(f"{device!r} is not a device of a virtual machine", hint="use vda, vdb ..., or xvda under xen")
    return match
