"""Rules about the virtual machine: memory, CPUs, network, VNC, checkpoints."""

from __future__ import annotations

import math
import re
from collections.abc import Iterator

from roost.condor.rules.model import Effect, Finding, Severity, check, rule, shown
from roost.condor.rules.view import Command, JobView
from roost.condor.submit.expression import ExpressionError, evaluate

_E, _W, _N = Severity.ERROR, Severity.WARNING, Severity.NOTE
_SECTION = "docs/vm-universe.md, section 1"

MEMORY = rule(
    "memory", _E, Effect.REJECTED, hint="write MiB as a plain number, such as vm_memory = 1024, or 1G, 1.5G, 524288K",
    source=f"{_SECTION}; condor_submit: vm_memory cannot be found. / is incorrectly specified",
)  # fmt: skip
MEMORY_REQUEST = rule(
    "memory-request", _W, Effect.OK, hint="give request_memory the value of vm_memory",
    source=f"{_SECTION}: request_memory sizes the slot, vm_memory the machine in it",
)  # fmt: skip
MEMORY_SMALL = rule(
    "memory-small", _W, Effect.OK, hint="is the number in MiB? a Debian guest needs 512",
    source="condor_vm-gahp/xen_type.linux.cpp: less than 32 MiB is raised to 32",
)  # fmt: skip
VCPUS = rule(
    "vcpus", _W, Effect.OK, hint="write a whole number of at least 1",
    source=f"{_SECTION}: vm_vcpus is never refused; what is not a number of at least 1 becomes 1",
)  # fmt: skip
VCPUS_REQUEST = rule(
    "vcpus-request", _W, Effect.OK, hint="give request_cpus the same number",
    source=f"{_SECTION}: vm_vcpus = 4 leaves RequestCpus = 1",
)  # fmt: skip
NET_TYPE = rule(
    "net-type", _E, Effect.IDLE, hint="write one of nat, bridge, user, without quotes",
    source=f"{_SECTION}: any other vm_networking_type never matches",
)  # fmt: skip
NET_TYPE_CASE = rule(
    "net-type-case", _N, Effect.OK, hint="write it in lower case", source=f"{_SECTION}: emit lower case"
)
NET_TYPE_IGNORED = rule(
    "net-type-ignored", _W, Effect.OK, hint="write vm_networking = true as well, or remove it",
    source=f"{_SECTION}: vm_networking_type is ignored without vm_networking",
)  # fmt: skip
NET_USER = rule(
    "net-user", _W, Effect.OK, hint="use nat unless you know that the pool offers user networking",
    source=f"{_SECTION}: user needs kvm, an execute machine of version 25.12, libvirt 9 and passt",
)  # fmt: skip
NET_USER_XEN = rule(
    "net-user-xen", _E, Effect.IDLE, hint="use nat or bridge", source=f"{_SECTION}: user networking is for kvm only"
)
NET_CARD = rule(
    "net-card", _N, Effect.OK, hint="have the drivers of both in the image, and name no interface by its slot",
    source="docs/vm-universe.md, section 6; libvirt_simple_script.awk of 24.12.21, 24.12.22 and 25.0.12",
)  # fmt: skip
MAC = rule(
    "mac", _E, Effect.HASVM_FALSE, hint="write six hexadecimal pairs with colons, such as 52:54:00:12:34:56, unquoted",
    source=f"{_SECTION}: a bad or multicast vm_macaddr is a libvirt error",
)  # fmt: skip
MAC_SHARED = rule(
    "mac-shared", _W, Effect.OK, hint="give each job its own address through a queue variable",
    source=f"{_SECTION}: one vm_macaddr for N jobs collides",
)  # fmt: skip
MAC_IGNORED = rule(
    "mac-ignored", _W, Effect.OK, hint="write vm_networking = true as well, or remove it",
    source="libvirt_simple_script.awk: the address is only written with a network interface",
)  # fmt: skip
CKPT_NET = rule(
    "ckpt-net", _E, Effect.REJECTED, hint="write when_to_transfer_output = ON_EXIT_OR_EVICT",
    source=f"{_SECTION}; condor_submit: You explicitly requested both VM checkpoint and VM networking",
)  # fmt: skip
CKPT_TRANSFER = rule(
    "ckpt-transfer", _E, Effect.HELD,
    hint="put every disk on a shared file system and name it by its absolute path, or drop vm_checkpoint",
    source="docs/vm-universe.md, section 4: VMGAHP_ERR_JOBCLASSAD_XEN/KVM_MISMATCHED_CHECKPOINT",
)  # fmt: skip

_BYTES = re.compile(r"\+?(\d+(?:\.\d*)?|\.\d+)\s*(?:([KMGT])B?)?", re.IGNORECASE)
_MAC = re.compile(r"[0-9A-Fa-f]{1,2}(?::[0-9A-Fa-f]{1,2}){5}")
_MIB = {"K": 1 / 1024, "M": 1, "G": 1 << 10, "T": 1 << 20}
NETWORK_TYPES = ("nat", "bridge", "user")


def mebibytes(text: str) -> int | None:
    """Return vm_memory in MiB as condor_submit reads it, rounded up; None where it refuses the value."""
    match = _BYTES.fullmatch(text)
    if not match:
        return None
    size = float(match[1]) * _MIB[(match[2] or "M").upper()]
    # 400 digits evaluate to infinity.
    return math.ceil(size) if 0 < size < 2**43 else None


def whole(text: str) -> int | None:
    """Return the value of a constant integer expression, or None."""
    try:
        value = evaluate(text)
    except ExpressionError:
        return None
    return int(value) if isinstance(value, int | float) and not isinstance(value, bool) else None


@check
def memory(view: JobView) -> Iterator[Finding]:
    """Apply the rules about memory."""
    if not view.is_vm:
        return
    command = view.get("vm_memory") or view.get("request_memory", "RequestMemory")
    empty = view.job.entry("vm_memory")
    if empty is not None and view.get("vm_memory") is None:
        # request_memory is used only where vm_memory is not written at all.
        yield MEMORY.at(empty.where, "vm_memory has no value")
        return
    if command is None:
        if not view.description.incomplete:
            yield MEMORY.at(view.place_of("vm_memory"), "there is neither vm_memory nor request_memory")
        return
    if command.value.unknown:
        return
    size = mebibytes(command.text)
    if size is None:
        yield MEMORY.at(command.where, f"{command.name} = {shown(command.text)} is not an amount of memory")
        return
    if size < 32:
        yield MEMORY_SMALL.at(command.where, f"{command.name} = {shown(command.text)} gives the guest {size} MiB")
    request = view.get("request_memory", "RequestMemory")
    requested = (mebibytes(request.text) or whole(request.text)) if request and not request.unknown else None
    if request and requested is not None and requested < size:
        yield MEMORY_REQUEST.at(request.where, f"the slot gets {requested} MiB and the machine in it {size} MiB")


@check
def vcpus(view: JobView) -> Iterator[Finding]:
    """Apply the rules about CPUs."""
    command = view.get("vm_vcpus", "JobVM_VCPUS")
    if not view.is_vm or command is None or command.unknown:
        return
    leading = re.match(r"\s*[+-]?\d{1,9}", command.text)
    number = max(1, int(leading.group())) if leading else 1
    if not re.fullmatch(r"\+?0*[1-9]\d{0,8}", command.text):
        yield VCPUS.at(command.where, f"vm_vcpus = {shown(command.text)} is read as {number}")
    request = view.get("request_cpus", "RequestCpus")
    requested = (whole(request.text) if not request.unknown else number) if request else 1
    if number > 1 and requested is not None and requested < number:
        yield VCPUS_REQUEST.at(command.where, f"the machine has {number} CPUs in a slot of {requested}")


@check
def network(view: JobView) -> Iterator[Finding]:
    """Apply the rules about networking."""
    if not view.is_vm:
        return
    networking = view.boolean("vm_networking", "JobVMNetworking")
    uncertain = any(one and one.unknown for one in [view.get("vm_networking", "JobVMNetworking")])
    kind = view.get("vm_networking_type", "JobVMNetworkingType")
    if kind and not networking and not uncertain:
        yield NET_TYPE_IGNORED.at(kind.where, "vm_networking_type is ignored because vm_networking is not true")
    elif kind and not kind.unknown:
        if kind.text.lower() not in NETWORK_TYPES:
            yield NET_TYPE.at(kind.where, f"no machine offers networking of type {shown(kind.text)}")
        elif kind.text not in NETWORK_TYPES:
            yield NET_TYPE_CASE.at(kind.where, f"{shown(kind.text)} works, but should be in lower case")
        if kind.text.lower() == "user":
            yield _user(view, kind)
    address = view.get("vm_macaddr", "JobVM_MACADDR")
    if address is None or address.unknown or uncertain:
        return
    if not networking:
        yield MAC_IGNORED.at(address.where, "vm_macaddr is ignored because vm_networking is not true")
    elif not _MAC.fullmatch(address.text):
        yield MAC.at(address.where, f"libvirt refuses the address {shown(address.text)}")
    elif int(address.text.partition(":")[0], 16) & 1:
        yield MAC.at(address.where, f"{address.text} is a multicast address, which libvirt refuses")
    elif view.job.count is not None and view.job.count > 1 and view.constant("vm_macaddr", "JobVM_MACADDR"):
        yield MAC_SHARED.at(address.where, f"{view.job.count} jobs get the same address")


def _user(view: JobView, kind: Command) -> Finding:
    if view.hypervisor == "xen":
        return NET_USER_XEN.at(kind.where, "no machine offers user networking to xen")
    what = "user networking is offered since HTCondor 25.12 (the execution point's), with libvirt 9 or later and passt"
    return NET_USER.at(kind.where, what)


@check
def card(view: JobView) -> Iterator[Finding]:
    """Yield a note about the network card that a kvm guest gets."""
    if view.is_vm and view.hypervisor == "kvm" and view.boolean("vm_networking", "JobVMNetworking"):
        what = "the network card is e1000 since HTCondor 24.12.21, virtio before and again since 24.12.22 and 25.0.12"
        yield NET_CARD.at(view.place_of("vm_networking"), what)


@check
def checkpoint(view: JobView) -> Iterator[Finding]:
    """Apply the rules about checkpoints."""
    if not view.is_vm or not view.boolean("vm_checkpoint", "JobVMCheckpoint"):
        return
    where = view.place_of("vm_checkpoint")
    when = view.get("when_to_transfer_output", "WhenToTransferOutput")
    in_time = when is not None and (when.unknown or when.text.upper() == "ON_EXIT_OR_EVICT")
    if view.boolean("vm_networking", "JobVMNetworking") and not in_time:
        yield CKPT_NET.at(where, "vm_checkpoint with vm_networking needs when_to_transfer_output = ON_EXIT_OR_EVICT")
    for item in view.disks:
        if view.transferred(item.fields[0].text) and len(item.fields) in (3, 4):
            yield CKPT_TRANSFER.at(
                view.disk_place(item.start),
                f"{shown(item.fields[0].text)} is transferred, so it cannot be checkpointed",
            )
