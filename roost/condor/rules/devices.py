"""Rules about the devices of vm_disk: names, buses, CDs, and which disk boots (docs/vm-universe.md, section 2)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, check, rule, shown
from roost.condor.rules.view import JobView, bus_of, is_cd
from roost.condor.vm_disk import DiskItem, guest_slots

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_OK, _HASVM = Effect.OK, Effect.HASVM_FALSE
_SECTION = "docs/vm-universe.md, section 2"

DEV_UNKNOWN = rule(
    "dev-unknown", _E, _HASVM, hint="use vda, vdb ... under kvm, xvda, xvdb ... under xen",
    source=f"{_SECTION}; libvirt: Unknown disk name and no address specified",
)  # fmt: skip
DEV_CASE = rule(
    "dev-case", _E, _HASVM, hint="write the device in lower case",
    source=f"{_SECTION}: libvirt refuses upper case",
)  # fmt: skip
DEV_PARTITION = rule(
    "dev-partition", _E, _HASVM, hint="give a whole disk, such as vda",
    source=f"{_SECTION}; libvirt: partitions can't appear in disk targets",
)  # fmt: skip
DEV_DUPLICATE = rule(
    "dev-duplicate", _E, _HASVM, hint="give each disk its own letter",
    source=f"{_SECTION}; libvirt: target duplicated for disk sources",
)  # fmt: skip
DEV_IDE = rule(
    "dev-ide", _W, _OK, hint="use vda: IDE is refused where the default machine is q35 (EL 10)",
    source=f"{_SECTION}: hdX on q35 is refused; the guest sees it as sda",
)  # fmt: skip
DEV_IDE_READONLY = rule(
    "dev-ide-readonly", _E, _HASVM, hint="put the read-only disk on vdX",
    source=f"{_SECTION}; libvirt: readonly ide disks are not supported",
)  # fmt: skip
DEV_SCSI = rule(
    "dev-scsi", _W, _OK, hint="use vda: many kernels have no driver for this controller (lsi53c895a)",
    source="docs/condor-pool.md: the job then completes with exit code 0 and no result",
)  # fmt: skip
DEV_ALIAS = rule(
    "dev-alias", _E, Effect.WRONG_DATA, hint="use one prefix, xvd, and a letter for each disk",
    source="docs/xen-in-qemu.md: of hda with sda, or xvda with sda, one is missing in the guest",
)  # fmt: skip
XEN_DEVICE = rule(
    "xen-device", _W, _OK, hint="use xvda, xvdb ...: a Xen guest never sees an sdX or hdX",
    source="docs/xen-in-qemu.md: devices a PV guest sees",
)  # fmt: skip
ISO_SUBSTRING = rule(
    "iso-substring", _E, _HASVM, hint="rename the file or directory so that its path has no 'iso'",
    source=f"{_SECTION}: the awk script turns every path with 'iso' into a CD-ROM",
)  # fmt: skip
ISO_BUS = rule(
    "iso-bus", _E, _HASVM,
    hint="rename it: a seed.img:vdc:r:raw (xen: xvdc) is read as well; or, under kvm only, put it on hdc",
    source=f"{_SECTION}: a CD on vdX is refused; libvirt: does not support ejectable media",
)  # fmt: skip
ISO_CASE = rule(
    "iso-case", _N, _OK, hint="name it .img when you want a disk",
    source=f"{_SECTION}: .ISO is not caught by the awk script",
)  # fmt: skip
BOOT_ORDER = rule(
    "boot-order", _E, Effect.RUNS_FOREVER, hint="give the root disk the lowest letter of its bus and list it first",
    source=f"{_SECTION}: the first disk that is not a CD boots, with strict=on and no fallback",
)  # fmt: skip

_KVM = re.compile(r"(vd|sd|hd)([a-z]+)(\d*)")
_XEN = re.compile(r"(xvd|sd|hd)([a-z]+)(\d*)")
_ROOT_NAME = re.compile(
    r"root|boot|system|(?<![a-z])os(?![a-z])|debian|ubuntu|linux|rocky|alma|centos|fedora", re.IGNORECASE
)
#: Names that belong to a root disk only, and names that never do.
_SURE_NAME = re.compile(r"(?<![a-z])(?:root|rootfs|boot|system)(?![a-z])", re.IGNORECASE)
_DATA_NAME = re.compile(
    r"(?<![a-z])(?:io|data|swap|seed|scratch|results?|inputs?|outputs?|home|tmp|cache)(?![a-z])", re.IGNORECASE
)


@check
def devices(view: JobView) -> Iterator[Finding]:
    """Apply the rules about device names."""
    taken: dict[str, str] = {}
    for item in view.usable_disks:
        field = item.fields[1]
        where = view.disk_place(field.start)
        yield from (_on_kvm if view.hypervisor == "kvm" else _on_xen)(view, item)
        for slot in guest_slots(field.text, "xen" if view.hypervisor == "xen" else "kvm"):
            if taken.get(slot) == field.text:
                yield DEV_DUPLICATE.at(where, f"the device {shown(field.text)} is used twice")
            elif slot in taken:
                yield DEV_ALIAS.at(where, f"a guest finds {taken[slot]} and {field.text} in the same place, {slot}")
            other = next((one for one in taken if _part_of(slot, one) or _part_of(one, slot)), None)
            if view.hypervisor == "xen" and other is not None:
                yield DEV_ALIAS.at(where, f"{taken[other]} and {field.text} are a whole disk and a part of it")
            taken[slot] = field.text


def _part_of(slot: str, disk: str) -> bool:
    return slot != disk and slot.rstrip("0123456789") == disk


def _on_kvm(view: JobView, item: DiskItem) -> Iterator[Finding]:
    device = item.fields[1].text
    where = view.disk_place(item.fields[1].start)
    match = _KVM.fullmatch(device)
    if match is None:
        if _KVM.fullmatch(device.lower()):
            yield DEV_CASE.at(where, f"libvirt does not know the device {shown(device)}, only {device.lower()}")
        else:
            yield DEV_UNKNOWN.at(where, f"{shown(device)} is not a disk of a kvm machine")
    elif match[3]:
        yield DEV_PARTITION.at(where, f"{shown(device)} is a partition, and libvirt takes only whole disks")
    elif match[1] == "hd" and (len(match[2]) > 1 or match[2] > "d"):
        yield DEV_UNKNOWN.at(where, f"there are only four IDE disks, hda to hdd, and no {device}")
    elif match[1] == "hd":
        yield DEV_IDE.at(where, f"{device} is an IDE disk")
        if item.fields[2].text == "r" and not is_cd(item):
            yield DEV_IDE_READONLY.at(where, f"libvirt refuses {device} as a read-only disk")
    elif match[1] == "sd":
        yield DEV_SCSI.at(where, f"{device} is a SCSI disk")


def _on_xen(view: JobView, item: DiskItem) -> Iterator[Finding]:
    device = item.fields[1].text
    where = view.disk_place(item.fields[1].start)
    match = _XEN.fullmatch(device)
    if match is None:
        if _XEN.fullmatch(device.lower()):
            yield DEV_CASE.at(where, f"libvirt does not know the device {shown(device)}, only {device.lower()}")
        else:
            yield DEV_UNKNOWN.at(where, f"{shown(device)} is not a disk of a xen machine")
    elif match[1] != "xvd":
        lost = " and the number is lost" if match[1] == "hd" and match[3] else ""
        yield XEN_DEVICE.at(where, f"a Xen guest sees {device} as {guest_slots(device, 'xen')[0]}{lost}")


@check
def compact_discs(view: JobView) -> Iterator[Finding]:
    """Apply the rules about CDs, intended and accidental."""
    disks = view.usable_disks
    alone = all(is_cd(item) for item in disks)
    for item in disks:
        file, device = item.fields[0], item.fields[1]
        where = view.disk_place(file.start)
        if not is_cd(item):
            if file.text.lower().endswith(".iso"):
                yield ISO_CASE.at(
                    where, f"{shown(file.text)} becomes a disk, not a CD: only 'iso' in lower case counts"
                )
            continue
        ejectable = device.text.startswith(("hd", "sd")) and view.hypervisor == "kvm"
        if file.text.endswith(".iso") and "iso" not in file.text[:-4]:
            if view.hypervisor == "xen":
                image = f"{file.text.removesuffix('.iso')}.img"
                hint = f"rename it, to have it as a disk: {shown(image)} on {guest_slots(device.text, 'xen')[0]}"
                yield ISO_BUS.at(where, f"{shown(file.text)} becomes a CD-ROM, which a Xen guest cannot have", hint)
            elif not ejectable:
                yield ISO_BUS.at(where, f"{shown(file.text)} becomes a CD-ROM, which {device.text} cannot be")
        else:
            effect = _HASVM if not ejectable else Effect.RUNS_FOREVER if alone else Effect.WRONG_DATA
            yield ISO_SUBSTRING.but(_E, effect).at(where, f"{shown(file.text)} becomes a CD-ROM: its path has 'iso'")


@check
def boot_order(view: JobView) -> Iterator[Finding]:
    """Apply the rule that the root disk must be the one that boots."""
    disks = [item for item in view.usable_disks if not is_cd(item)]
    booted = view.boot_disk
    if len(disks) < 2 or booted is None:
        return
    if view.hypervisor != "kvm":
        yield from _on_pygrub(view, disks)
        return
    root, sure = _meant_to_boot(disks, booted)
    where = view.disk_place(root.fields[1].start)
    name, device = shown(booted.fields[0].text), booted.fields[1].text
    if root is not booted:
        message = f"{name} on {device} is what boots, not {shown(root.fields[0].text)} on {root.fields[1].text}"
        hint = None if sure else "the names alone say so: see whether the disk that boots has a boot loader"
        yield (BOOT_ORDER if sure else BOOT_ORDER.but(_W, _OK)).at(where, message, hint)
    elif len({bus_of(item) for item in disks}) > 1:
        yield BOOT_ORDER.but(_N, _OK).at(
            view.disk_place(booted.fields[1].start),
            f"{name} on {device} boots, because vm_disk lists it first; on one bus the letter decides",
        )


def _on_pygrub(view: JobView, disks: list[DiskItem]) -> Iterator[Finding]:
    """Yield a finding where pygrub, which reads the first disk of vm_disk, finds no kernel."""
    kernel = view.get("xen_kernel", "VMPARAM_Xen_Kernel")
    if view.hypervisor != "xen" or kernel is None or kernel.text != "included":
        return
    root, sure = _meant_to_boot(disks, disks[0])
    if root is not disks[0]:
        first, other = shown(disks[0].fields[0].text), shown(root.fields[0].text)
        what = f"{first} is what boots, not {other}: pygrub looks for the kernel on the first disk"
        hint = "list the disk that has the kernel first" if sure else "the names alone say so: see what is on the first"
        found = BOOT_ORDER.but(_E, _HASVM) if sure else BOOT_ORDER.but(_W, _OK)
        yield found.at(view.disk_place(root.fields[0].start), what, hint)


def _meant_to_boot(disks: list[DiskItem], booted: DiskItem) -> tuple[DiskItem, bool]:
    """Return the disk meant to be the root disk, and whether the names are unambiguous.

    The format is no evidence: a raw root disk beside a qcow2 io disk is as usual as the reverse.
    """
    named = [item for item in disks if _ROOT_NAME.search(_base(item))]
    if booted in named or len(named) != 1:
        others = [item for item in disks if not _DATA_NAME.search(_base(item))]
        if _DATA_NAME.search(_base(booted)) and booted not in named and len(others) == 1:
            return others[0], False
        return booted, bool(named)
    return named[0], bool(_SURE_NAME.search(_base(named[0])) or _DATA_NAME.search(_base(booted)))


def _base(item: DiskItem) -> str:
    return item.fields[0].text.rpartition("/")[2]
