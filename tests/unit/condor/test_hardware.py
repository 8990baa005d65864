"""The virtual hardware that libvirt makes of HTCondor's domain (docs/vm-universe.md, sections 2 and 6)."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.hardware import (
    Hardware,
    HypervisorRefusalError,
    attach,
    hardware,
    in_attach_order,
    refusals,
    target_index,
)
from roost.condor.machine import MachineKernel, VirtualMachine, VmDisk
from roost.condor.vm_disk import parse
from roost.recipe.hypervisor import Hypervisor


def machine(vm_disk: str, hypervisor: Hypervisor = "kvm") -> VirtualMachine:
    return VirtualMachine("sim", hypervisor, memory=512, vcpus=2, disks=parse(vm_disk))


def targets(made: Hardware) -> list[str]:
    return [disk.target for disk in made.disks]


def booted(vm_disk: str) -> str | None:
    disk = hardware(machine(vm_disk)).boot_disk
    return disk.file if disk else None


def test_root_on_vda_boots_and_the_io_disk_follows() -> None:
    made = hardware(machine("root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw"))
    assert [(d.file, d.format, d.bus, d.target, d.boot_index) for d in made.disks] == [
        ("root.qcow2", "qcow2", "virtio", "vda", 1),
        ("io.raw", "raw", "virtio", "vdb", None),
    ]
    assert (made.machine, made.memory, made.vcpus, made.bootloader, made.serial) == ("pc", 512, 2, "bios", "ttyS0")
    assert made.network is None and not made.vnc and made.kernel is None


def test_disks_of_one_bus_are_sorted_by_letter_so_the_wrong_disk_boots() -> None:
    assert booted("root.qcow2:vdb:w:qcow2,data.raw:vda:w:raw") == "data.raw"


def test_disks_of_one_letter_keep_the_order_of_vm_disk() -> None:
    assert booted("root.qcow2:hda:w:qcow2,data.raw:vda:w:raw") == "root.qcow2"
    assert booted("data.raw:vda:w:raw,root.qcow2:hda:w:qcow2") == "data.raw"


def test_the_letter_decides_over_the_bus_too() -> None:
    assert booted("root.qcow2:vdb:w:qcow2,data.raw:hda:w:raw") == "data.raw"
    assert booted("root.qcow2:vdb:w:qcow2,a.raw:sda:w:raw,b.raw:hdc:w:raw") == "a.raw"


def test_the_order_is_the_one_that_libvirt_9_0_and_11_3_showed() -> None:
    made = hardware(machine("a:vdb:w:raw,b:hda:w:raw,c:vda:w:raw,d:hdc:w:raw,e:vdc:w:raw,f:hdb:w:raw"))
    assert targets(made) == ["hda", "vda", "vdb", "hdb", "hdc", "vdc"]


def test_a_cd_is_never_booted_though_it_is_first() -> None:
    made = hardware(machine("seed.iso:hda:w:raw,root.raw:hdb:w:raw"))
    assert [(d.target, d.cdrom, d.readonly, d.boot_index) for d in made.disks] == [
        ("hda", True, True, None),
        ("hdb", False, False, 1),
    ]


def test_a_cd_alone_boots() -> None:
    alone = hardware(machine("live.iso:hdc:r:raw")).boot_disk
    assert alone is not None and alone.file == "live.iso"


@pytest.mark.parametrize(("permission", "readonly"), [("r", True), ("w", False), ("R", False), ("rw", False)])
def test_only_a_lower_case_r_makes_a_disk_readonly(permission: str, readonly: bool) -> None:
    assert attach(VmDisk("a.raw", "vdb", permission, "raw")).readonly is readonly


def test_a_missing_format_is_raw() -> None:
    assert attach(VmDisk("a.qcow2", "vda", "w")).format == "raw"


@pytest.mark.parametrize(
    ("device", "bus", "controller", "unit"),
    [
        ("hda", "ide", 0, 0),
        ("hdb", "ide", 0, 1),
        ("hdc", "ide", 1, 0),
        ("hdd", "ide", 1, 1),
        ("sda", "scsi", 0, 0),
        ("sdg", "scsi", 0, 6),
        ("sdh", "scsi", 1, 0),
        ("vdc", "virtio", 0, 0),
        ("xvdb", "xen", 0, 0),
    ],
)
def test_the_prefix_decides_the_bus_and_the_letter_the_place(device: str, bus: str, controller: int, unit: int) -> None:
    disk = attach(VmDisk("a.raw", device, "w", "raw"))
    assert (disk.bus, disk.controller, disk.unit) == (bus, controller, unit)


@pytest.mark.parametrize(
    ("vm_disk", "what"),
    [
        ("a:xvda:w:raw", "does not know the device"),
        ("a:VDA:w:raw", "does not know the device"),
        ("a:nvme0n1:w:raw", "does not know the device"),
        ("a:sda2:w:raw", "partitions can't appear"),
        ("a:hde:w:raw", "only four IDE disks"),
        ("a:hda:r:raw", "read-only IDE disks"),
        ("a:vda:w:QCOW2", "unknown driver format value"),
        ("a:vda:w:img", "unknown driver format value"),
        ("isolated.qcow2:vda:w:qcow2", "CD-ROM"),
        ("a:vda:w:raw,b:vda:w:raw", "used twice"),
    ],
)
def test_what_libvirt_refuses_is_refused_with_a_hint(vm_disk: str, what: str) -> None:
    with pytest.raises(HypervisorRefusalError) as caught:
        hardware(machine(vm_disk))
    assert what in str(caught.value)
    assert all(problem.hint for problem in caught.value.problems)


def test_all_refusals_come_at_once() -> None:
    found = list(refusals(machine("a:xvda:w:raw,b:hda:r:raw,c:vdb:w:IMG"), "pc"))
    assert len(found) == 3


def test_ide_is_refused_on_q35_and_works_on_pc() -> None:
    ide = machine("a:hda:w:raw")
    assert hardware(ide, "pc").disks[0].bus == "ide"
    with pytest.raises(HypervisorRefusalError, match="q35"):
        hardware(ide, "q35")


def test_a_network_card_comes_before_the_disks_on_the_pci_bus() -> None:
    vm = replace(machine("a:vda:w:raw,b:sda:w:raw"), network="nat", mac="52:54:00:12:34:56")
    assert hardware(vm).pci == ("network", "scsi0", "vda", "balloon")
    assert hardware(vm, "q35").pci == ("network", "usb", "scsi0", "vda", "balloon")
    card = hardware(vm, card="e1000").network
    assert card is not None and (card.network, card.model, card.mac) == ("nat", "e1000", "52:54:00:12:34:56")


@pytest.mark.parametrize("mac", ["zz", "01:00:5e:00:00:01", "52-54-00-12-34-56", "52:54:00:12:34"])
def test_a_bad_or_multicast_address_is_refused(mac: str) -> None:
    with pytest.raises(HypervisorRefusalError):
        hardware(replace(machine("a:vda:w:raw"), network="bridge", mac=mac))


def test_a_kernel_beside_the_image_boots_instead_of_a_disk() -> None:
    kernel = MachineKernel("vmlinuz", "initrd.img", "/dev/vda1", "root=/dev/vda1 ro console=ttyS0")
    made = hardware(replace(machine("a:vda:w:raw"), kernel=kernel))
    assert (made.bootloader, made.kernel, made.initrd, made.cmdline) == (
        "kernel",
        "vmlinuz",
        "initrd.img",
        "root=/dev/vda1 ro console=ttyS0",
    )
    assert made.boot_disk is None


def test_xen_takes_bare_file_systems_and_is_read_by_pygrub() -> None:
    made = hardware(machine("root.img:xvda1:w:raw,swap.img:sda2:w:raw", "xen"))
    assert (made.machine, made.bootloader, made.serial, made.pci) == ("xenpv", "pygrub", "hvc0", ())
    assert targets(made) == ["xvda1", "sda2"]
    with pytest.raises(HypervisorRefusalError, match="does not know the device"):
        hardware(machine("root.img:vda:w:raw", "xen"))


@given(st.permutations(["vda", "vdb", "vdc", "hda", "hdb", "sda", "sdb"]))
def test_whatever_the_order_letters_rise_and_equal_letters_stay(order: list[str]) -> None:
    names = [disk.target for disk in in_attach_order([attach(VmDisk(f"{one}.raw", one, "w", "raw")) for one in order])]
    assert sorted(names) == sorted(order)
    for first, second in pairwise(names):
        assert (first[2], order.index(first)) < (second[2], order.index(second))


def test_a_vnc_screen_shifts_the_slots_of_a_pc() -> None:
    plain = machine("a:vda:w:raw")
    assert hardware(plain).first_slot == 2
    assert hardware(replace(plain, vnc=True)).first_slot == 3


def test_scsi_controllers_have_no_gaps() -> None:
    assert hardware(machine("a:sdp:w:raw")).pci == ("scsi0", "scsi1", "scsi2", "balloon")


def test_letters_count_as_libvirt_counts_them() -> None:
    assert [target_index(device) for device in ("vda", "vdz", "vdaa", "vdab", "vdba")] == [0, 25, 26, 27, 52]
