"""The kernel's command line, the same in grub.cfg, xen_kernel_params and a direct boot."""

from __future__ import annotations

from roost.recipe.hypervisor import Hypervisor
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe

#: HTCondor's libvirt gives kvm guests ttyS0 (docs/vm-universe.md, section 6); a Xen PV guest has hvc0.
CONSOLES: dict[Hypervisor, tuple[str, ...]] = {
    "kvm": ("console=tty0", "console=ttyS0,115200"),
    "xen": ("console=hvc0",),
}


def root_parameter(recipe: Recipe) -> str | None:
    """Return `root=UUID=…` of the recipe's root file system, which is independent of the disk's device name.

    None means that it belongs to an existing image and is known once that is edited.
    """
    disk = recipe.root_disk
    if disk.existing:
        return None
    index = next(number for number, area in enumerate(disk.areas) if area.mount == "/")
    return f"root=UUID={filesystem_id(recipe, disk, index)}"


def command_line(recipe: Recipe, hypervisors: tuple[Hypervisor, ...] | None = None, root: str | None = None) -> str:
    """Return the parameters for a kernel started by the given hypervisors (default: the recipe's).

    The last console= is /dev/console; Linux uses those that exist, so one line works on both hypervisors. `root` is the
    root parameter of an existing image.
    """
    chosen = hypervisors or recipe.hypervisors
    consoles = [console for name in ("xen", "kvm") if name in chosen for console in CONSOLES[name]]
    found = root_parameter(recipe) or root
    return " ".join([*([found] if found else []), "ro", *consoles, *recipe.kernel.parameters])
