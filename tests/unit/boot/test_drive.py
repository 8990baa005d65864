"""What is polled of a running machine while its console is silent."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from roost.boot.console import FIRMWARE, Console
from roost.boot.drive import _Drive, _Inside
from roost.boot.monitor import Processors
from roost.boot.session import Session
from roost.boot.watch import BootPlan, decide
from roost.condor.hardware import AttachedDisk

PLAN = BootPlan("job", 60.0, 1.0)


class _Polled(Session):
    """A machine whose CPUs sleep with interrupts off at every poll."""

    async def processors(self) -> Processors | None:
        return Processors(paging=False, dead=True)

    async def reads(self, disk: str) -> int | None:
        return 1


@pytest.mark.parametrize("silent", [False, True])
def test_cpus_that_slept_in_the_boot_loader_are_not_dead_once_the_kernel_speaks(silent: bool, tmp_path: Path) -> None:
    """GRUB waits for the firmware's disk driver with interrupts off; a kernel that speaks is not polled at all."""
    session = _Polled(None, Console(), Console(FIRMWARE))
    session.firmware.feed(b"SeaBIOS (version 1)\nBooting from 0000:7c00\n", 0.2)
    root = AttachedDisk("root.qcow2", "qcow2", "vda", "virtio", 0, 0, 0, False, False, 1)
    driven = _Drive(session, PLAN, root, _Inside(tmp_path, 0), None)
    for now in (1.6, 2.6, 3.6, 4.6):
        if now == 2.6:
            session.serial.feed(b"[    0.000000] Linux version 6.1\n", 2.5)
            session.serial.settle(2.6)
        if now > 2.6 and not silent:
            session.serial.feed(f"[    {now}00000] evm: HMAC attrs: 0x1\n".encode(), now - 0.1)
        asyncio.run(driven._look(now))
    action = decide(PLAN, session.serial, session.firmware, [], driven.watch, 4.7)
    # The silent one is dead since 4.6 at the most.
    assert action.kind == "wait"
    if silent:
        for now in (5.6, 6.7):
            asyncio.run(driven._look(now))
        assert decide(PLAN, session.serial, session.firmware, [], driven.watch, 6.8).why == "dead"
