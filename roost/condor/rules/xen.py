"""Rules about xen's kernel, initrd and root (docs/vm-universe.md, section 5)."""

from __future__ import annotations

import re
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, check, rule, shown
from roost.condor.rules.view import Command, JobView
from roost.condor.vm_disk import guest_slots

_E, _W = Severity.ERROR, Severity.WARNING
_OK, _HASVM = Effect.OK, Effect.HASVM_FALSE
_SECTION = "docs/vm-universe.md, section 5"

XEN_KERNEL = rule(
    "xen-kernel", _E, Effect.REJECTED, hint="write xen_kernel = included, or name a kernel file",
    source="docs/vm-universe.md, section 1; condor_submit: 'xen_kernel' cannot be found.",
)  # fmt: skip
XEN_ROOT = rule(
    "xen-root", _E, Effect.REJECTED,
    hint="write xen_kernel = included for a kernel in the image; with a kernel file give xen_root = /dev/xvda1",
    source="docs/vm-universe.md, section 1; condor_submit: 'xen_root' cannot be found.",
)  # fmt: skip
XEN_INITRD = rule(
    "xen-initrd", _E, Effect.REJECTED, hint="remove xen_initrd, or give xen_kernel a file",
    source="docs/vm-universe.md, section 1; condor_submit: To use xen_initrd, xen_kernel should be a real kernel file.",
)  # fmt: skip
XEN_KERNEL_CASE = rule(
    "xen-kernel-case", _E, _HASVM, hint="write included in lower case",
    source="docs/vm-universe.md, section 1: any case passes submit, only lower case survives the awk script",
)  # fmt: skip
XEN_VMX = rule(
    "xen-vmx", _E, _HASVM, hint="write xen_kernel = included; name no kernel file vmx",
    source="docs/vm-universe.md, section 4, error 2; libvirt_simple_script.awk writes <kernel>vmx</kernel>",
)  # fmt: skip
XEN_KERNEL_TRANSFER = rule(
    "xen-kernel-transfer", _E, Effect.HELD, hint="list it in transfer_input_files and name it without directory",
    source="docs/vm-universe.md, section 4, error 3: XEN_KERNEL_NOT_FOUND, not readable from the sandbox",
)  # fmt: skip
XEN_INITRD_TRANSFER = rule(
    "xen-initrd-transfer", _E, Effect.HELD, hint="list it in transfer_input_files and name it without directory",
    source="docs/vm-universe.md, section 4, error 4: XEN_INITRD_NOT_FOUND, not readable from the sandbox",
)  # fmt: skip
XEN_KERNEL_RELATIVE = rule(
    "xen-kernel-relative", _E, _HASVM, hint="use included, or an absolute path on the execute machine",
    source=f"{_SECTION}: a transferred kernel or initrd stays a relative path in the domain XML",
)  # fmt: skip
XEN_INITRD_BLANK = rule(
    "xen-initrd-blank", _E, _HASVM, hint="give an initrd",
    source=f"{_SECTION}: no xen_initrd gives <initrd> </initrd>",
)  # fmt: skip
XEN_KERNEL_INCLUDED = rule(
    "xen-kernel-included", _E, _HASVM, hint="rename the kernel's file or directory",
    source=f"{_SECTION}: a kernel path that contains `included` gives an empty bootloader",
)  # fmt: skip
XEN_INCLUDED_MULTI = rule(
    "xen-included-multi", _W, _OK, hint="put everything on one disk",
    source=f"{_SECTION}: safest is included with one raw disk",
)  # fmt: skip
XEN_PARAMS_IGNORED = rule(
    "xen-params-ignored", _W, _OK, hint="put the parameters into the image's grub.cfg",
    source=f"{_SECTION}: with included, xen_root and xen_kernel_params are unused",
)  # fmt: skip
XEN_ROOT_QUOTED = rule(
    "xen-root-quoted", _E, Effect.RUNS_FOREVER, hint="remove the quotes",
    source="docs/vm-universe.md, section 1: do not quote xen_root",
)  # fmt: skip
XEN_ROOT_DROPPED = rule(
    "xen-root-dropped", _W, _OK, hint="write root=... into xen_kernel_params as well",
    source=f"{_SECTION}: in the libvirt versions read, only the command line reaches the guest",
)  # fmt: skip
XEN_ROOT_DEVICE = rule(
    "xen-root-device", _E, Effect.RUNS_FOREVER, hint="write root=LABEL=..., or root=/dev/xvd and what vm_disk gives",
    source="docs/xen-in-qemu.md: devices a PV guest sees; a Xen guest has no vdX, sdX or hdX",
)  # fmt: skip
XEN_XML = rule(
    "xen-xml", _E, _HASVM, hint="leave the character out, or put the parameters into the image",
    source=f"{_SECTION}; libvirt_simple_script.awk writes values into XML as they are, without their double quotes",
)  # fmt: skip
XEN_ON_KVM = rule(
    "xen-on-kvm", _W, _OK, hint="write vm_type = xen, or remove it",
    source="condor_utils/submit_utils.cpp (SetVMParams): read for xen only",
)  # fmt: skip

COMMANDS = ("xen_kernel", "xen_initrd", "xen_root", "xen_kernel_params")


@check
def kernel(view: JobView) -> Iterator[Finding]:
    """Apply the rules about xen's kernel."""
    if not view.is_vm or view.hypervisor != "xen":
        for name in COMMANDS if view.hypervisor == "kvm" else ():
            command = view.get(name)
            if command:
                yield XEN_ON_KVM.at(view.place_of(name), f"{name} has no effect under kvm")
        return
    command = view.get("xen_kernel", "VMPARAM_Xen_Kernel")
    if command is None:
        if not view.description.incomplete:
            yield XEN_KERNEL.at(view.place_of("xen_kernel"), "there is no xen_kernel")
    elif not command.unknown:
        if command.text.lower() in ("included", "vmx"):
            yield from _no_file(view, command)
        else:
            yield from _file(view, command)


def _no_file(view: JobView, command: Command) -> Iterator[Finding]:
    initrd = view.get("xen_initrd")
    if initrd:
        yield XEN_INITRD.at(initrd.where, f"xen_initrd needs a kernel file, not {command.text}")
    if command.text.lower() == "vmx":
        yield XEN_VMX.at(command.where, f"{shown(command.text)} is no longer a way to boot: libvirt looks for a file")
        return
    if command.text != "included":
        yield XEN_KERNEL_CASE.at(command.where, f"{shown(command.text)} becomes the name of a kernel file")
    for name in ("xen_root", "xen_kernel_params"):
        ignored = view.get(name)
        if ignored:
            yield XEN_PARAMS_IGNORED.at(ignored.where, f"{name} is not used with xen_kernel = included")
    # Of several disks pygrub reads the first (docs/xen-in-qemu.md); a returned file is not part of the image.
    results = {item.name for item in view.outputs}
    if any(disk.fields[0].text.rpartition("/")[2] not in results for disk in view.usable_disks[1:]):
        yield XEN_INCLUDED_MULTI.at(view.disk_place(0), "xen_kernel = included is documented for a single disk")


def _file(view: JobView, command: Command) -> Iterator[Finding]:
    root, initrd = view.get("xen_root"), view.get("xen_initrd")
    parameters = view.get("xen_kernel_params", "VMPARAM_Xen_Kernel_Params")
    if root is None:
        if not view.description.incomplete:
            yield XEN_ROOT.at(command.where, f"xen_kernel = {shown(command.text)} names a file, so xen_root is needed")
    else:
        if any(quote in root.text for quote in "'\""):
            yield XEN_ROOT_QUOTED.at(root.where, f"the quotes of xen_root = {shown(root.text)} are kept")
        if not parameters or ("root=" not in parameters.text and not parameters.unknown):
            yield XEN_ROOT_DROPPED.at(root.where, "libvirt drops xen_root, and no other command names the root device")
    for given in (command, initrd, root, parameters):
        if given and not given.unknown and re.search("[<&]", given.text):
            yield XEN_XML.at(
                given.where, f"{given.name} = {shown(given.text)} has a character that breaks libvirt's XML"
            )
    if parameters and not parameters.unknown:
        yield from _root_device(view, parameters)
    if "included" in command.text:
        yield XEN_KERNEL_INCLUDED.at(
            command.where, f"{shown(command.text)} contains 'included', so no kernel is loaded"
        )
    yield from _reachable(view, command, XEN_KERNEL_TRANSFER.code)
    if initrd is None:
        if not view.description.incomplete:
            # A kernel that is not found hides this error.
            found = XEN_INITRD_BLANK if command.text.startswith("/") else XEN_INITRD_BLANK.but(_W, _OK)
            yield found.at(command.where, "without xen_initrd libvirt gets a blank file name as initrd")
    elif not initrd.unknown:
        yield from _reachable(view, initrd, XEN_INITRD_TRANSFER.code)


def _root_device(view: JobView, parameters: Command) -> Iterator[Finding]:
    """Yield a finding where root= names a device that the guest does not have. The last root= counts."""
    found = list(re.finditer(r"(?:^|[\s\"])root=(\S+)", parameters.text))
    if not found:
        return
    where, name = parameters.value.at(found[-1].start(1)), found[-1][1].strip('"')
    if '"' in parameters.text.strip('"'):
        found_quote = XEN_XML.but(_W, _OK)
        yield found_quote.at(parameters.where, "the double quotes within xen_kernel_params become backslashes")
    match = re.fullmatch(r"/dev/((vd|sd|hd|xvd)[a-z]+)(\d*)", name)
    if match is None:
        return
    slots = {slot for item in view.usable_disks for slot in guest_slots(item.fields[1].text, "xen")}
    if match[2] != "xvd":
        # Old kernels with Xen's own patches had sdX and hdX.
        rule = XEN_ROOT_DEVICE if match[2] == "vd" else XEN_ROOT_DEVICE.but(_W, _OK)
        yield rule.at(where, f"a Xen guest has no {name}, only /dev/xvd...")
    elif slots and not slots & {match[1], match[1] + match[3]}:
        yield XEN_ROOT_DEVICE.at(where, f"vm_disk gives the guest no {name}")


def _reachable(view: JobView, command: Command, code: str) -> Iterator[Finding]:
    path = command.text
    missing = XEN_KERNEL_TRANSFER if code == XEN_KERNEL_TRANSFER.code else XEN_INITRD_TRANSFER
    if path.startswith("/"):
        if view.transferred(path):
            yield missing.at(command.where, f"{shown(path)} is transferred, but named by its path on the access point")
    elif view.transfers_known and (not view.transferred(path) or "/" in path.removeprefix("./")):
        reason = (
            "is not in transfer_input_files" if not view.transferred(path) else "has a directory that the sandbox lacks"
        )
        yield missing.at(command.where, f"{command.name} = {shown(path)} {reason}")
    elif view.transferred(path):
        yield XEN_KERNEL_RELATIVE.at(command.where, f"libvirt is given the relative path {shown(path)}")
