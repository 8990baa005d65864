"""One run of a machine on throw-away layers: its parameters and its start."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roost.boot import drive, overlays, qemu, xen_host, xen_machine, xen_session
from roost.boot import start as starting
from roost.boot import xen as xens
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DiskPlace, direct_kernel
from roost.boot.checkpoint import Checkpoint
from roost.boot.console import Sign
from roost.boot.context import Context
from roost.boot.domain import HostXen
from roost.boot.kvm import qemu_argv
from roost.boot.machine import Start
from roost.boot.session import Session
from roost.boot.start import Listening
from roost.boot.trials import TrialRequest
from roost.boot.watch import BootPlan, Goal
from roost.condor.hardware import Hardware, HypervisorRefusalError, hardware
from roost.errors import UsageError
from roost.events import Stages
from roost.host import causes, namespace
from roost.iodisk import make

#: Seconds that an image without a recipe may take under KVM.
TIMEOUT = 120.0


@dataclass
class Attempt:
    """One run of a context's machine: its accelerator, its throw-away layers, and its results."""

    context: Context
    accelerator: Accelerator
    scratch: Path
    wanted: TrialRequest = field(default_factory=TrialRequest)
    places: dict[str, DiskPlace] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    shape: Hardware | None = None
    virtual: dict[str, int] = field(default_factory=dict)
    checkpoint: Checkpoint | None = None
    empty: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def written(self) -> tuple[str, ...]:
        """Return the names of the disks that the guest wrote to: their layers have grown."""
        layers = {disk: self.places[disk.device].layer for disk in self.context.vm.disks}
        grown = [disk for disk, layer in layers.items() if layer and layer.stat().st_size > self.empty[disk.device]]
        return tuple(Path(disk.file).name for disk in grown)

    @property
    def plan(self) -> BootPlan:
        """What to wait for, and for how long."""
        recipe, given = self.context.recipe, self.context.job
        goal: Goal = "job" if given or (recipe and recipe.job) else "any" if recipe is None else "login"
        stays = bool(recipe and recipe.job and recipe.job.then == "stay")
        timeout = recipe.boot_test.timeout if recipe else TIMEOUT
        bound = given.seconds if given else None
        return BootPlan(goal, timeout, self.accelerator.factor, stays, self.accelerator.kernel_seconds, bound)

    def command(self, channels: Channels, places: Mapping[str, DiskPlace], incoming: str | None = None) -> list[str]:
        """Return QEMU's command line for disks at `places`, with `incoming` for a resumed machine."""
        assert self.shape is not None
        if self.context.first:
            words = xen_machine.qemu_argv(self.shape, self.accelerator, qemu.program(), places, channels)
        else:
            direct = direct_kernel(self.context.directory, self.shape)
            words = qemu_argv(self.shape, self.accelerator, qemu.program(), places, channels, direct)
        return [*words, "-incoming", incoming] if incoming else words

    def domain(self, shape: Hardware, stages: Stages) -> Start:
        """Return what starts the machine as a Xen domain."""
        first = self.context.first
        assert first is not None
        direct = direct_kernel(self.context.directory, shape)
        if isinstance(first, HostXen):
            host = xen_host.Host(first, shape, self.places, direct)
            self.argv = host.argv
            return host.start

        def seen(argv: Sequence[str]) -> None:
            self.argv = tuple(argv)

        xen = xens.Xen(first, shape, self.accelerator, qemu.program(), self.places, stages, direct, seen=seen)
        return xen.start

    def instead(self) -> dict[str, Path]:
        """Return the io disk of the given job, or make that of a test with inputs: it replaces the empty one."""
        given = self.context.job
        if given is not None and self.io is not None:
            return {self.io: given.disk.absolute()}
        if not self.context.inputs or self.context.recipe is None:
            return {}
        if self.io is None:
            raise UsageError(
                f"{self.context.vm.name} has no io disk for the job's inputs", hint="give a disk `role: io`"
            )
        path = self.scratch / f"inputs.{make.disk_of(self.context.recipe).format}"
        namespace.probe(namespace.owner())
        make.make(self.context.recipe, tuple(self.context.inputs), path)
        return {self.io: path}

    @property
    def io(self) -> str | None:
        """The target of the disk that the job writes to."""
        disk = self.context.recipe.io_disk if self.context.recipe else None
        names = (disk.name,) if disk else ()
        return next((one.device for one in self.context.vm.disks if Path(one.file).stem in names), None)


def run_machine(run: Attempt, stages: Stages) -> tuple[drive.Observation | None, str | None]:
    """Run the machine to its end; return what was seen, or why the hypervisor refused it.

    It is run a second time, on new layers, when the host was too busy for the emulated timer of the first.

    Raises `HostError` as soon as the host has no space for the guest's writes or its output.
    """
    seen, refused = _run_once(run, stages)
    if run.accelerator.name == "tcg" and not run.context.first and seen is not None and late_timer(seen.serial):
        run.notes = ("the host was too busy for the emulated timer, and the kernel gave up: it was booted once more",)
        stages.note(run.notes[0])
        seen, refused = _run_once(run, stages)
    return seen, refused


def late_timer(signs: Mapping[str, Sign]) -> bool:
    """Return whether a kernel panicked because the timer did not interrupt it for ten ticks.

    It waits for them at its start, by its processor's clock, which goes on while QEMU has no core (Linux source:
    arch/x86/kernel/apic/io_apic.c, check_timer).
    """
    return "panic" in signs and "IO-APIC + timer doesn't work" in signs["panic"].text


def _run_once(run: Attempt, stages: Stages) -> tuple[drive.Observation | None, str | None]:
    context, log = run.context, run.scratch / "log"
    try:
        shape = hardware(context.vm, context.how.machine)
        with stages.stage("prepare", "throw-away layers over the disks"):
            run.places.update(overlays.make(shape, context.directory, run.scratch, run.instead()))
            run.empty = {name: place.layer.stat().st_size for name, place in run.places.items() if place.layer}
        run.shape = shape
        if run.wanted.needs_checkpoint:
            run.checkpoint = Checkpoint(
                run.scratch, shape, *((xen_session.Resumed, xen_session.TOOLS) if context.first else ())
            )
        lines = [one for one in (context.recipe.boot_test.expect if context.recipe else ()) if one.serial is not None]

        def argv(channels: Channels) -> Sequence[str]:
            run.argv = tuple(run.command(channels, run.places))
            return run.argv

        async def save(session: Session) -> None:
            assert run.checkpoint is not None
            await run.checkpoint.take(session, run.places)

        start = run.domain(shape, stages) if context.first else functools.partial(starting.start, argv)
        stages.events.begin("boot", f"{shape.machine}, {run.accelerator.name}")
        listening = Listening(
            log / "serial.log",
            log / "qemu.log",
            run.scratch,
            patterns=[one.serial for one in lines if one.serial and not one.absent],
            unwanted=[one.serial for one in lines if one.serial and one.absent],
            echo=context.echo,
        )
        at_job = save if run.checkpoint else None
        seen = asyncio.run(drive.drive(start, run.plan, shape, listening, events=stages.events, at_job=at_job))
        stages.events.end("boot", seen.ended, True)
    except HypervisorRefusalError as refusal:
        return None, "; ".join(str(problem) for problem in refusal.problems)
    except drive.QemuError as error:
        return None, error.tail or str(error)
    except OSError as error:
        causes.check(error, f"the machine cannot continue in {run.scratch.parent}, which ROOST_CACHE names")
        raise
    return seen, None
