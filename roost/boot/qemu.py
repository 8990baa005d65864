"""QEMU's program for x86, and its options for the two accelerators."""

from __future__ import annotations

import functools
import platform
import re
from typing import Literal

from roost.errors import HostError, RoostError
from roost.host import declared, process

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


@functools.cache
def has_ring() -> bool:
    """Return whether QEMU can access files through io_uring(7) here; containers and administrators often forbid it.

    It is for TCG. Firmware that waits for a disk writes to a page of memory that also holds code, for which TCG takes a
    lock each time. The thread that completes the request needs that lock too, and can spin for milliseconds. Through
    io_uring, what the host has in memory is there before the wait begins, and GRUB loads a kernel in half the time.
    """
    # Before Linux 5.12 rings count as locked memory, of which an account has little (RLIMIT_MEMLOCK).
    numbers = tuple(map(int, re.findall(r"\d+", platform.release())[:2]))
    if numbers < (5, 12):
        return False
    try:
        # Opening a file fails where rings cannot be set up.
        file = f"driver=raw,file.driver=file,file.aio=io_uring,file.filename={program().replace(',', ',,')}"
        with declared.only(None):
            return process.run(["qemu-img", "info", "--image-opts", file], deadline=10, check=False).returncode == 0
    except RoostError:
        return False
