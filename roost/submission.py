"""From a built image to the virtual machine that HTCondor is asked for, and to its submit description."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

from roost.condor.machine import VirtualMachine, VmDisk
from roost.condor.vm_disk import format_disks
from roost.errors import UsageError
from roost.manifest import BuiltFile, Manifest
from roost.recipe.loader import Loaded
from roost.recipe.model import DiskFormat, Hypervisor, Recipe

MiB = 1 << 20


def image_formats(recipe: Recipe) -> dict[str, frozenset[DiskFormat]]:
    """Return disk → formats that its hypervisors need: HTCondor's xen reads raw only."""
    wanted: dict[str, frozenset[DiskFormat]] = {}
    for disk in recipe.disks:
        formats: set[DiskFormat] = set()
        if "kvm" in recipe.hypervisors:
            formats.add(disk.format)
        if "xen" in recipe.hypervisors:
            formats.add("raw")
        wanted[disk.name] = frozenset(formats)
    return wanted


def machine(recipe: Recipe, hypervisor: Hypervisor) -> VirtualMachine:
    """Return the machine of a recipe: its root disk first, devices in order (vda … for kvm, xvda … for xen)."""
    prefix = "vd" if hypervisor == "kvm" else "xvd"
    ordered = sorted(recipe.disks, key=lambda disk: disk is not recipe.root_disk)
    disks = []
    for number, disk in enumerate(ordered):
        form: DiskFormat = disk.format if hypervisor == "kvm" else "raw"
        device = disk.device or f"{prefix}{chr(ord('a') + number)}"
        disks.append(VmDisk(f"{disk.name}.{form}", device, "r" if disk.readonly else "w", form))
    return VirtualMachine(
        name=recipe.name,
        hypervisor=hypervisor,
        memory=recipe.machine.memory // MiB,
        vcpus=recipe.machine.cpus,
        disks=tuple(disks),
        network=recipe.machine.network,
    )


def describe(loaded: Loaded, files: Sequence[BuiltFile], hypervisor: Hypervisor, *, snippet: bool = False) -> str:
    """Return the submit description that works from the image's folder; with `snippet` only the lines to paste."""
    recipe = loaded.recipe
    if hypervisor not in recipe.hypervisors:
        raise UsageError(f"{recipe.name} is not made for {hypervisor}", hint=f"hypervisors: {recipe.hypervisors}")
    vm = machine(recipe, hypervisor)
    names = [disk.file for disk in vm.disks]
    lines = [("vm_disk", format_disks(vm.disks)), ("transfer_input_files", ", ".join(names))]
    if snippet:
        return _aligned(lines)
    virtual = {file.name: file.virtual for file in files}
    disk_kib = math.ceil(sum(virtual[name] for name in names) / 1024)
    back = [f"{name}.raw" for name in recipe.submit.returns]
    remaps = "; ".join(f"{name} = {name.rpartition('.')[0]}-$(Cluster).$(Process).raw" for name in back)
    everything = [
        ("universe", "vm"),
        ("executable", recipe.name),
        ("log", f"{recipe.name}.$(Cluster).log"),
        ("vm_type", hypervisor),
        ("vm_memory", str(vm.memory)),
        ("request_memory", str(vm.memory)),
        ("vm_vcpus", str(vm.vcpus)),
        ("request_cpus", str(vm.vcpus)),
        ("request_disk", f"{disk_kib}K"),
        ("vm_networking", "false"),
        *lines,
        ("should_transfer_files", "YES"),
        ("when_to_transfer_output", "ON_EXIT"),
        *([("transfer_output_files", ", ".join(back)), ("transfer_output_remaps", f'"{remaps}"')] if back else []),
    ]
    return f"{_aligned(everything)}queue\n"


def _aligned(lines: Sequence[tuple[str, str]]) -> str:
    width = max(len(name) for name, _ in lines)
    return "".join(f"{name.ljust(width)} = {value}\n" for name, value in lines)


def snippets(loaded: Loaded, record: Manifest) -> dict[str, str]:
    """Return the lines to paste, by hypervisor."""
    return {name: describe(loaded, record.files, name, snippet=True) for name in loaded.recipe.hypervisors}


def write(loaded: Loaded, files: Sequence[BuiltFile], target: Path) -> None:
    """Write kvm.sub and xen.sub, whichever the recipe's hypervisors are, into a build folder."""
    for name in loaded.recipe.hypervisors:
        (target / f"{name}.sub").write_text(describe(loaded, files, name))
