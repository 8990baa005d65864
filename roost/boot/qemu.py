"""QEMU's program for x86, and its options for the two accelerators."""

from __future__ import annotations

from typing import Literal

from roost.errors import HostError
from roost.host import process

#: `xen` is a host's own Xen, not an accelerator of QEMU's.
Accel = Literal["kvm", "tcg", "xen"]

#: HTCondor's guests get the host's CPU. TCG has none to pass through: `max` is the most it can emulate.
CPU: dict[Accel, str] = {"kvm": "host", "tcg": "max"}

QEMU = ("qemu-system-x86_64", "qemu-kvm", "/usr/libexec/qemu-kvm")


def program() -> str:
    """Return QEMU's program for x86. Raises `HostError` when it is not installed."""
    for name in QEMU:
        if found := process.which(name):
            return found
    raise HostError("qemu-system-x86_64 is not installed", hint="apt-get install qemu-system-x86")
