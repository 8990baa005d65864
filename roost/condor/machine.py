"""The model of the virtual machine, from which the submit description and the test boot are rendered."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from roost.recipe.hypervisor import Hypervisor

Network = Literal["none", "nat", "bridge", "user"]


@dataclass(frozen=True, slots=True)
class VmDisk:
    """One item of vm_disk: `file:device:permission[:format]` (manual, condor_submit, vm_disk)."""

    file: str
    device: str
    permission: str
    format: str | None = None


@dataclass(frozen=True, slots=True)
class MachineKernel:
    """A kernel beside the image: xen_kernel, xen_initrd, xen_root, xen_kernel_params; `-kernel` in a test boot.

    `parameters` is the whole command line including root=: libvirt drops xen_root (docs/xen-in-qemu.md).
    """

    kernel: str
    initrd: str | None
    root: str
    parameters: str


@dataclass(frozen=True, slots=True)
class VirtualMachine:
    """The machine requested from HTCondor: memory in MiB, CPUs, disks in vm_disk's order, network, kernel, console.

    `kernel` is None when the image boots by itself: a boot loader under kvm, `xen_kernel = included` under xen.
    `mac` is the network card's address, None for one that libvirt generates; `vnc` gives the machine a screen.
    """

    name: str
    hypervisor: Hypervisor
    memory: int
    vcpus: int
    disks: tuple[VmDisk, ...]
    network: Network = "none"
    kernel: MachineKernel | None = None
    mac: str | None = None
    vnc: bool = False
