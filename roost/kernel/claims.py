"""Check, before a build, whether a kernel can drive the recipe's disks according to the catalogue's claims.

`roost.kernel.check` checks the kernel itself once it exists, with the same messages.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from roost.condor.placement import Where, devices
from roost.errors import Problem
from roost.kernel import drivers
from roost.kernel.catalogue import Ability, KernelSpec
from roost.kernel.drivers import BUSES
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Disk, Recipe

#: Formats that Xen's domain builder unpacks: all since 4.4 (2014), and zstd since 4.15 (2021).
XEN_UNPACKS = frozenset({"gzip", "bzip2", "lzma", "xz", "lzo", "lz4"})
ABILITIES: Mapping[str, Ability] = {bus: "xen-pv" if bus == "xen" else bus for bus in BUSES}  # type: ignore[misc]


def problems(recipe: Recipe, spec: KernelSpec, others: Sequence[KernelSpec], where: Where) -> list[Problem]:
    """Return why a kernel cannot serve the recipe according to its claims; empty for a kernel without claims."""
    found: dict[str, Problem] = {}
    if not spec.can:
        return []
    for hypervisor in recipe.hypervisors:
        if hypervisor == "xen" and "xen-pv" not in spec.can:
            what = f"kernel {spec.name} does not start under xen (no Xen PV)"
            found[what] = Problem(what, where(("kernel", "use")), instead(others, {"xen-pv"}))
            continue
        for number, disk, device in placed(recipe, hypervisor):
            bus = drivers.bus_of(device, hypervisor)
            if ABILITIES[bus] not in spec.can:
                what = no_driver(spec.name, disk, device, BUSES[bus][:1])
                hint = instead(others, {ABILITIES[bus]}, device_hint(recipe, disk))
                found[what] = Problem(what, where(("disks", number, "device")), hint)
    return list(found.values())


def placed(recipe: Recipe, hypervisor: Hypervisor) -> Iterator[tuple[int, Disk, str]]:
    """Yield each disk with its index in the recipe and its device under a hypervisor."""
    given = devices(recipe, hypervisor)
    for number, disk in enumerate(recipe.disks):
        device = given.get(disk.name, "")
        # A device that this hypervisor does not have is refused elsewhere.
        if any(device.startswith(prefix) for prefix in drivers.PREFIXES):
            yield number, disk, device


def no_driver(kernel: str, disk: Disk, device: str, missing: Sequence[str]) -> str:
    """Return the message for a kernel that lacks the drivers of a disk."""
    return f"kernel {kernel} has no driver for disk {disk.name} on {device} ({', '.join(missing)})"


def no_xen_pv(release: str) -> str:
    """Return the message for a kernel without Xen PV support."""
    return f"kernel {release} does not start under xen: it is built without CONFIG_XEN_PV"


def packed_otherwise(release: str, compression: str | None) -> str | None:
    """Return the message for a kernel that Xen cannot unpack, or None; `compression` is None if it is unknown."""
    if compression in XEN_UNPACKS | {"zstd"}:
        return None
    return f"kernel {release} is compressed in a format that Xen's loader does not know"


def instead(others: Sequence[KernelSpec], wanted: set[Ability], also: str | None = None) -> str | None:
    """Return the hint to use another kernel with the wanted capabilities, or `also`, or both."""
    able = [f"kernel: {{use: {other.name}}}" for other in others if wanted <= set(other.can)]
    ways = [*able[:1], *([also] if also else [])]
    return f"use {', or '.join(ways)}" if ways else None


def device_hint(recipe: Recipe, disk: Disk) -> str:
    """Return the device that the disk would get if the recipe did not set one."""
    free = recipe.model_copy(
        update={"disks": tuple(one.model_copy(update={"device": None}) if one is disk else one for one in recipe.disks)}
    )
    return f"device {devices(free, 'kvm').get(disk.name, 'vdb')}"
