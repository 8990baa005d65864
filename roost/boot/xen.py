"""A Xen machine on a host without Xen: the hypervisor and its first domain run in QEMU, the image as a domain.

A paravirtual guest needs no hardware virtualization, so a real Xen runs under QEMU's emulation. Its first domain is an
image of roost's own (recipes/base/xen-dom0.yaml); it passes the disks through, has pygrub and xl start the domain, and
forwards the domain's console and how it ended (`roost.boot.xen_session`).
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roost.boot import accelerator as accelerators
from roost.boot import start as starting
from roost.boot import xen_machine, xen_saved
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DirectKernel, DiskPlace
from roost.boot.domain import HostXen
from roost.boot.machine import Start
from roost.boot.session import Session
from roost.boot.start import Listening
from roost.boot.xen_machine import FirstDomain
from roost.boot.xen_session import TOOLS, Domain
from roost.condor.hardware import Hardware
from roost.condor.machine import VirtualMachine
from roost.events import Stages
from roost.host import causes, saved_machines
from roost.host.saved_machines import BusyError

#: The emulated processor: with more features than this one has, the first domain crashes (docs/xen-in-qemu.md).
CPU = "Westmere"
#: How much slower a guest is under a hypervisor.
SLOWER = 2.5
#: How much slower a domain of a host's own Xen may be than a guest under KVM on a fast machine.
HOST_FACTOR = 2.0


def untried(vm: VirtualMachine, *, checkpoint: bool = False) -> tuple[str, ...]:
    """Return which settings of a xen machine no boot tests; empty for others. `checkpoint`: jobs are checkpointed."""
    if vm.hypervisor != "xen":
        return ()
    saved = ("its checkpoint was not tried: the test boot under Xen saves no domain",) if checkpoint else ()
    card = ("the network card was not tried: the test boot under Xen has none",) if vm.network != "none" else ()
    screen = ("the screen was not tried: the test boot under Xen has none",) if vm.vnc else ()
    return card + screen + saved


def choose(accel: str, first: FirstDomain | HostXen | None, *, require_kvm: bool, **more: Any) -> Accelerator:
    """Return the accelerator for a machine, as `accelerator.choose` does; with `first` for a domain of Xen.

    Xen under KVM has not been tested yet: it must be asked for.
    """
    if isinstance(first, HostXen):
        return Accelerator("xen", "host", HOST_FACTOR, False, None)
    if first is None:
        return accelerators.choose(accel, require_kvm=require_kvm, **more)
    return paced(
        accelerators.choose("tcg" if accel == "auto" and not require_kvm else accel, require_kvm=require_kvm, **more)
    )


def paced(accelerator: Accelerator) -> Accelerator:
    """Return the accelerator as seen by a guest of Xen: with another processor, and slower."""
    return replace(accelerator, cpu=CPU, factor=round(accelerator.factor * SLOWER, 2), kernel_seconds=None)


@dataclass(frozen=True)
class Xen:
    """How a machine is started as a domain: its hardware, its disks, the kernel next to the image.

    Xen's own start is a stage of `stages` and does not count as the guest's time. `seen` receives QEMU's arguments.
    """

    first: FirstDomain
    hardware: Hardware
    accelerator: Accelerator
    program: str
    places: Mapping[str, DiskPlace]
    stages: Stages
    direct: DirectKernel | None = None
    seen: Callable[[Sequence[str]], None] = field(default=lambda argv: None)

    @property
    def start(self) -> Start:
        """Return what starts it."""
        return self._start

    @asynccontextmanager
    async def _start(self, listening: Listening) -> AsyncIterator[Session]:
        assert listening.cwd is not None, "the files of the domain lie in QEMU's directory"
        xen_machine.lay_out(self.first, listening.cwd)
        xen_machine.pack(self.hardware, self.direct, listening.cwd)
        machine = xen_saved.place(self.first, self.hardware, self.accelerator, self.program)
        what = "the hypervisor and its first domain, in QEMU"
        if machine:
            what += ", restored" if xen_saved.exists(machine) else ", and saved for later boots"
        async with contextlib.AsyncExitStack() as stack:
            with self.stages.stage("xen", what):
                session, failed = await self._restored(machine, listening, stack) if machine else (None, None)
                if session is None:
                    start = starting.start(self._argv, listening, make=self._make, side_signs=TOOLS)
                    started = await stack.enter_async_context(start)
                    assert isinstance(started, Domain)
                    await started.bring_up(xen_saved.limit(self.accelerator, xen_saved.START))
                    session = started
                if failed:
                    # Xen starts with these disks, so the machine was at fault.
                    saved_machines.give_up(failed)
                    self.stages.note("the saved machine of Xen is not used, and Xen was started: see qemu.log")
            yield session

    async def _restored(
        self, machine: Path, listening: Listening, stack: contextlib.AsyncExitStack
    ) -> tuple[Domain | None, Path | None]:
        """Return the session of a restored machine, closed by `stack`; None when Xen must be started.

        Then the second value is the machine that failed, if it did. A machine that does not exist is saved first.
        """
        try:
            if not xen_saved.exists(machine):
                await xen_saved.save(machine, self.first, self._blank, self.accelerator, listening.log)
            seconds = xen_saved.limit(self.accelerator, xen_saved.RESTORE)
            restored = xen_saved.restored(machine, self._argv, listening, self._make, seconds)
            return await stack.enter_async_context(restored), None
        except BusyError:
            return None, None
        except Exception as error:  # whatever it is, Xen can be started
            why = getattr(error, "tail", None) or causes.reason(error)
            saved_machines.complain(why, "the saved machine of Xen", listening.log)
            return None, machine

    @property
    def _make(self) -> Callable[..., Domain]:
        """Return the class of the session."""
        return functools.partial(
            Domain, starts="a kernel beside the image" if self.hardware.kernel else "pygrub reads the first disk"
        )

    def _argv(self, channels: Channels) -> list[str]:
        words = xen_machine.qemu_argv(self.hardware, self.accelerator, self.program, self.places, channels)
        self.seen(words)
        return words

    def _blank(self, channels: Channels) -> list[str]:
        return xen_machine.blank_argv(self.hardware, self.accelerator, self.program, channels)
