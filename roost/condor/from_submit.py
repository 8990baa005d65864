"""From any submit description to the machine HTCondor would make of its first job: the input of `inv boot FILE.sub`.

Files are located as HTCondor does: transferred ones through transfer_input_files, others through vm_disk; relative
names start from the description's directory.
"""

from __future__ import annotations

import os
from pathlib import Path

from roost.condor.machine import MachineKernel, Network, VirtualMachine, VmDisk
from roost.condor.rules.machine import mebibytes
from roost.condor.rules.model import shown
from roost.condor.rules.view import JobView
from roost.condor.submit.language import read
from roost.condor.submit.macros import Expander
from roost.errors import ImageError, Location, UsageError
from roost.host import causes, files, numbers

_NETWORKS: dict[str, Network] = {"nat": "nat", "bridge": "bridge", "user": "user"}


def virtual_machine(path: Path) -> VirtualMachine:
    """Return the machine of a description's first job; files are absolute or relative to the description's directory.

    Raises `UsageError` for anything but a description of a vm-universe job, `ImageError` for one that makes no machine;
    `inv lint` reports everything that is wrong with it.
    """
    try:
        text = files.read_bytes(path).decode("utf-8", "replace")
    except OSError as error:
        raise UsageError(files.unreadable(path, error), hint=causes.hint(error)) from error

    def included(name: str) -> str | None:
        try:
            return files.read_text(path.parent / name, errors="replace")
        except OSError:
            return None

    description = read(text, str(path), included, os.environ)
    hint = f"inv lint {path}"
    if not description.jobs:
        raise UsageError(f"{path} queues no job", hint=hint)
    job = description.jobs[0]
    view = JobView(description, job, Expander(job.table, job.live, os.environ))
    if not view.is_vm:
        raise UsageError(f"{path} is not for the vm universe", hint=hint)
    if view.hypervisor is None:
        raise ImageError(
            "vm_type is neither kvm nor xen: the job would idle", where=view.place_of("vm_type"), hint=hint
        )
    memory = view.get("vm_memory") or view.get("request_memory", "RequestMemory")
    amount = mebibytes(memory.text) if memory else None
    if amount is None:
        raise ImageError("vm_memory is not an amount of memory", where=view.place_of("vm_memory"), hint=hint)
    if not view.usable_disks or len(view.usable_disks) != len(view.disks):
        raise ImageError("vm_disk cannot be parsed", where=view.place_of("vm_disk"), hint=hint)
    sources = {transfer.name: transfer for transfer in view.transfers}

    def source(name: str, where: Location) -> str:
        transfer = sources.get(name.rpartition("/")[2])
        if transfer is None or not transfer.is_url:
            return transfer.text if transfer else name
        if (path.parent / transfer.name).is_file():
            return transfer.name
        raise ImageError(f"{transfer.text} is not here", where=where, hint=f"put {transfer.name} beside {path.name}")

    disks = []
    for item in view.usable_disks:
        fields = [field.text for field in item.fields]
        file = source(fields[0], view.disk_place(item.start))
        # HTCondor's script writes no driver for a xen disk, so it is raw whatever the description declares.
        form = "raw" if view.hypervisor == "xen" else fields[3] if len(fields) > 3 else None
        disks.append(VmDisk(file, fields[1], fields[2], form))
    cpus = view.get("vm_vcpus") or view.get("request_cpus", "RequestCpus")
    network: Network = "none"
    if view.boolean("vm_networking"):
        kind = view.get("vm_networking_type")
        network = _NETWORKS.get(kind.text.lower(), "nat") if kind else "nat"
    address = view.get("vm_macaddr")
    return VirtualMachine(
        name=path.stem,
        hypervisor="xen" if view.hypervisor == "xen" else "kvm",
        memory=amount,
        vcpus=max(1, numbers.whole(cpus.text, 9) or 1) if cpus else 1,
        disks=tuple(disks),
        network=network,
        kernel=_kernel(view, hint) if view.hypervisor == "xen" else None,
        mac=address.text if address and not address.unknown else None,
        vnc=view.boolean("vm_vnc"),
    )


def _kernel(view: JobView, hint: str) -> MachineKernel | None:
    """Return the kernel files of a xen machine, or None for the kernel in the image."""
    place = view.place_of("xen_kernel")
    kernel, root = view.get("xen_kernel", "VMPARAM_Xen_Kernel"), view.get("xen_root")
    if kernel is None:
        raise ImageError("there is no xen_kernel: condor_submit refuses the description", where=place, hint=hint)
    if kernel.text == "included":
        return None
    initrd = view.get("xen_initrd")
    for file in (kernel, initrd):
        if file is not None and not file.text.startswith("/"):
            # The script passes the name on, and libvirt does not run in the sandbox (docs/vm-universe.md, section 5).
            what = f"{file.name} = {shown(file.text)} is not an absolute path: libvirt would not find it"
            raise ImageError(what, where=file.where, hint=hint)
    if root is None:
        raise ImageError("there is no xen_root: condor_submit refuses the description", where=place, hint=hint)
    parameters = view.get("xen_kernel_params", "VMPARAM_Xen_Kernel_Params")
    text = parameters.text if parameters else ""
    return MachineKernel(kernel.text, initrd.text if initrd else None, root.text, text)
