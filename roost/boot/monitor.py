"""A running machine seen from outside: QMP events and the state of its virtual CPUs. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

_PAGING = 1 << 31
_INTERRUPTS = 1 << 9


@dataclass(frozen=True, slots=True)
class Event:
    """One QMP event: seconds after the start, its name, its data."""

    seconds: float
    name: str
    data: dict[str, Any]

    @property
    def reason(self) -> str:
        """The reason of a SHUTDOWN or RESET, such as guest-shutdown; empty for others."""
        return str(self.data.get("reason", ""))

    @property
    def unstored(self) -> str | None:
        """Why the host did not store the guest's writes, such as a full disk: QEMU has paused the machine.

        It continues only on request (QEMU's werror=enospc, the default), which roost never sends.
        """
        stopped = self.name == "BLOCK_IO_ERROR" and self.data.get("action") == "stop"
        return str(self.data.get("reason") or "an input/output error") if stopped else None


@dataclass(frozen=True, slots=True)
class Processors:
    """The state of the virtual CPUs: `paging` means that an operating system is up, `dead` that all sleep forever."""

    paging: bool
    dead: bool


def parse_registers(text: str) -> Processors | None:
    """Parse QEMU's `info registers -a` of all CPUs (target/i386/cpu-dump.c); return None if it shows none."""
    control = [int(value, 16) for value in re.findall(r"\bCR0=([0-9a-f]+)", text)]
    flags = [int(value, 16) for value in re.findall(r"\b[ER]FL=([0-9a-f]+)", text)]
    halted = re.findall(r"\bHLT=(\d)", text)
    if not control or not len(control) == len(flags) == len(halted):
        return None
    dead = all(hlt == "1" and not flag & _INTERRUPTS for hlt, flag in zip(halted, flags, strict=True))
    return Processors(paging=any(value & _PAGING for value in control), dead=dead)


def parse_forwarded(text: str) -> int | None:
    """Return the forwarded port of loopback in QEMU's `info usernet` (net/slirp.c); None if there is none."""
    found = re.search(r"TCP\[HOST_FORWARD\]\s+\S+\s+127\.0\.0\.1\s+(\d{1,5})\s", text)
    return int(found[1]) if found else None
