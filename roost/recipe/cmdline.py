"""The kernel's command line, the same in grub.cfg, xen_kernel_params and a direct boot, and what of it arrives."""

from __future__ import annotations

import re

from roost.recipe.hypervisor import Hypervisor
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe
from roost.recipe.words import shown

#: HTCondor's libvirt gives kvm guests ttyS0 (docs/vm-universe.md, section 6); a Xen PV guest has hvc0.
CONSOLES: dict[Hypervisor, tuple[str, ...]] = {
    "kvm": ("console=tty0", "console=ttyS0,115200"),
    "xen": ("console=hvc0",),
}
#: Text that GRUB's shell and pygrub, which does not read quotes, both read literally.
PLAIN = re.compile(r"[A-Za-z0-9_./:=,@%+-]+")
#: The longest command line in bytes, without the NUL at its end: Linux on x86 (arch/x86/include/asm/setup.h:
#: COMMAND_LINE_SIZE), a Xen PV guest (xen/include/public/xen.h: MAX_GUEST_CMDLINE). What is beyond it is lost silently.
LONGEST: dict[Hypervisor, int] = {"kvm": 2047, "xen": 1023}
#: The bytes that GRUB puts before the parameters, at most, while the kernel's name is not known: Linux' Makefile allows
#: a release of 64 characters (uts_len).
RESERVE = len("BOOT_IMAGE=/boot/vmlinuz- ") + 64


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


def refusal(word: str, *, pygrub: bool) -> tuple[str, str] | None:
    """Return why GRUB, or with `pygrub` either of both, cannot pass a word of grub.cfg to a kernel, and a hint."""
    allowed = "use letters, digits and _./:=,@%+- under xen" if pygrub else "use ASCII without blanks, ', \" and \\"
    # GRUB escapes these with a backslash when it passes the command line to the kernel (grub-core/lib/cmdline.c).
    bad = next((char for char in word if char in "'\"\\" or not char.isprintable() or char == " "), None)
    if bad is not None:
        return f"GRUB cannot pass '{shown(bad)}' to a kernel: {shown(word)}", allowed
    if pygrub and not PLAIN.fullmatch(word):
        return f"grub.cfg would have to quote {shown(word)}, and pygrub does not read quotes", allowed
    return None


def too_long(recipe: Recipe, line: str, before: int) -> tuple[str, str] | None:
    """Return why the recipe's guests would lose the end of a command line, and a hint; None if it is short enough.

    `before` are the bytes that GRUB puts in front of it; pygrub puts none. With both hypervisors, xen has the limit.
    """
    xen = "xen" in recipe.hypervisors
    limit = LONGEST["xen" if xen else "kvm"]
    before = 0 if xen else before
    size = before + len(line.encode())
    if size <= limit:
        return None
    image = f", {before} of them for GRUB's BOOT_IMAGE=" if before else ""
    whose = "a Xen PV guest" if xen else "Linux"
    what = f"the kernel's command line has {size} bytes{image}, and {whose} takes {limit}: the end would be lost"
    excess = size - limit
    return what, f"shorten kernel.parameters by {excess} byte{'' if excess == 1 else 's'}"
