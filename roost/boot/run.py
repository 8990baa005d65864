"""The test boot: the machine that HTCondor would make, run on throw-away layers, judged by what it leaves.

`boot` is the whole story: choose the accelerator, put a layer over each disk, run, read the disks, judge, write the
verdict. The sums of all files are taken while the guest runs and once more after it, so that the verdict is bound
to bytes that were the same throughout.
"""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from roost.boot import afterwards, drive, expected, host_kernels, layers, outcome, qemu, trials, waits
from roost.boot import session as sessions
from roost.boot import xen as xens
from roost.boot.accelerator import Accelerator
from roost.boot.drive import Screen
from roost.boot.evidence import Evidence
from roost.boot.expected import Witness
from roost.boot.given import Channels, DiskPlace
from roost.boot.kvm import qemu_argv
from roost.boot.machine import Start
from roost.boot.result import BootResult, FileSum
from roost.boot.saved import Saved
from roost.boot.session import Session
from roost.boot.trials import Trials, Wanted
from roost.boot.verdict import judge
from roost.boot.watch import Goal, Plan
from roost.condor.hardware import Hardware, HypervisorRefusalError, hardware
from roost.condor.machine import VirtualMachine
from roost.errors import ImageError, UsageError
from roost.events import Events, Stages
from roost.host import checksum, namespace
from roost.host.pool import Pool
from roost.iodisk import make
from roost.iodisk.inputs import Item
from roost.recipe.boot_test import BootTest
from roost.recipe.model import Recipe
from roost.store.scratch import scratch_directory
from roost.verify.evidence import StoppedDisk

#: Seconds that an image without a recipe may take under KVM.
TIMEOUT = 120.0

__all__ = ["BootResult", "FileSum", "boot", "readable"]


@dataclass
class _Run:
    """What is known before the start: the files, the plan, the scratch folder."""

    vm: VirtualMachine
    folder: Path
    recipe: Recipe | None
    accelerator: Accelerator
    scratch: Path
    wanted: Wanted = field(default_factory=Wanted)
    inputs: tuple[Item, ...] = ()
    places: dict[str, DiskPlace] = field(default_factory=dict)
    argv: tuple[str, ...] = ()
    shape: Hardware | None = None
    virtual: dict[str, int] = field(default_factory=dict)
    saved: Saved | None = None
    empty: dict[str, int] = field(default_factory=dict)
    first: xens.FirstDomain | None = None

    def written(self) -> tuple[str, ...]:
        """Return the names of the disks that the guest wrote to: their layers have grown."""
        layers = {disk: self.places[disk.device].layer for disk in self.vm.disks}
        grown = [disk for disk, layer in layers.items() if layer and layer.stat().st_size > self.empty[disk.device]]
        return tuple(Path(disk.file).name for disk in grown)

    @property
    def plan(self) -> Plan:
        """What is awaited, and for how long."""
        goal: Goal = "any" if self.recipe is None else "job" if self.recipe.job else "login"
        stays = bool(self.recipe and self.recipe.job and self.recipe.job.then == "stay")
        timeout = self.recipe.boot_test.timeout if self.recipe else TIMEOUT
        return Plan(goal, timeout, self.accelerator.factor, stays, self.accelerator.kernel_seconds)

    def path(self, name: str | None) -> Path | None:
        """Return the absolute path of a file that the machine names."""
        return self.folder.absolute() / name if name else None

    def command(self, channels: Channels, places: Mapping[str, DiskPlace], incoming: str | None = None) -> list[str]:
        """Return QEMU's command line for disks at `places`, with `incoming` for a machine that goes on."""
        assert self.shape is not None
        kernel, initrd = self.path(self.shape.kernel), self.path(self.shape.initrd)
        program = qemu.program()
        return qemu_argv(
            self.shape, self.accelerator, program, places, channels, kernel=kernel, initrd=initrd, incoming=incoming
        )

    def domain(self, shape: Hardware, stages: Stages) -> Start:
        """Return what starts the machine as a domain of Xen."""
        assert self.first is not None

        def seen(argv: Sequence[str]) -> None:
            self.argv = tuple(argv)

        files = {"kernel": self.path(shape.kernel), "initrd": self.path(shape.initrd)}
        xen = xens.Xen(self.first, shape, self.accelerator, qemu.program(), self.places, stages, seen=seen, **files)
        return xen.start

    def instead(self) -> dict[str, Path]:
        """Make the io disk of a job that has inputs; it stands in for the empty one of the image."""
        if not self.inputs or self.recipe is None:
            return {}
        if self.io is None:
            raise UsageError(f"{self.vm.name} has no io disk for the job's inputs", hint="give a disk `role: io`")
        path = self.scratch / f"inputs.{make.disk_of(self.recipe).format}"
        namespace.probe()
        make.make(self.recipe, self.inputs, path, namespace=namespace.current())
        return {self.io: path}

    @property
    def io(self) -> str | None:
        """The target of the disk that the job writes to."""
        disk = self.recipe.io_disk if self.recipe else None
        names = (disk.name,) if disk else ()
        return next((one.device for one in self.vm.disks if Path(one.file).stem in names), None)


def boot(
    vm: VirtualMachine,
    folder: Path,
    recipe: Recipe | None,
    *,
    accel: str = "auto",
    machine: Literal["pc", "q35"] = "pc",
    require_kvm: bool = False,
    evict: bool | None = None,
    bases: Sequence[str] = (),
    inputs: Sequence[Item] = (),
    test: str | None = None,
    first: xens.FirstDomain | None = None,
    out: Path,
    events: Events | None = None,
    echo: Callable[[bytes], None] | None = None,
) -> BootResult:
    """Boot `vm`, whose file names are relative to `folder`, and judge it by `recipe` (None: nothing is known of it).

    `evict` says whether HTCondor's eviction is tried, None what the recipe says; `bases` are the files that disks
    stand on, which the verdict names too; `inputs` are put into the job's input/, on a disk made for this boot; `test`
    is the key of the test (`roost.store.image_inputs.boot_key`); `first` is Xen and its first domain, for xen.
    Writes HYPERVISOR.json, the logs in HYPERVISOR/ and a report into `out`, each whole or not at all.
    Raises `ImageError` when a file is missing, `HostError` when KVM is required and does not work or the host lacks
    a tool, `UsageError` for a word it does not know. A guest that fails is no exception: `passed` is false.
    """
    from roost.boot import report

    stages = Stages(events)
    files = [*(disk.file for disk in vm.disks), *_kernel_files(vm), *bases]
    for name in files:
        if not (folder / name).is_file():
            raise ImageError(f"there is no {name} in {folder}", hint="build the image first")
    with stages.stage("probe", "does a kernel boot under KVM"):
        candidate = folder / vm.kernel.kernel if vm.kernel else None
        usable = candidate if candidate and host_kernels.is_kernel(candidate) else None
        chosen = xens.choose(accel, first, require_kvm=require_kvm, kernel=usable, events=events)
    with scratch_directory() as scratch, Pool(max_workers=4, thread_name_prefix="roost-boot") as pool:
        wanted = Wanted() if first else trials.wanted(recipe, evict)
        run = _Run(vm, folder, recipe, chosen, scratch, wanted, tuple(inputs), first=first)
        before = {name: pool.submit(checksum.sha256, folder / name) for name in dict.fromkeys(files)}
        log = scratch / "log" / "qemu.log"
        seen, refused = _run_machine(run, machine, log, stages, echo)
        with stages.stage("disks", "what the guest left on them"):
            after = {name: pool.submit(checksum.sha256, folder / name) for name in before}
            evidence = _evidence(run, seen, refused, pool)
            changed = tuple(name for name in before if _sum(before[name]) != _sum(after[name]))
        evidence = outcome.with_changed(evidence, changed)
        verdict = judge(evidence)
        tried = Trials()
        if verdict.passed and seen is not None:
            tried = trials.run(run.wanted, seen, evidence.powered_off, run.saved, run.command, run.plan, run.io, stages)
            evidence = replace(evidence, expectations=(*evidence.expectations, *tried.expected))
            verdict = judge(evidence)
            verdict = replace(verdict, notes=(*verdict.notes, *tried.notes))
        screen = readable(seen.screen if seen else Screen(), evidence)
        if not verdict.passed and screen.text:
            verdict = replace(verdict, notes=(*verdict.notes, f"on its screen: {screen.text.splitlines()[-1].strip()}"))
        if seen is not None:
            limit = run.plan.paced(seen.phases).limit(waits.INIT)
            slow = waits.slow(seen.waits, seen.silence, seen.seconds().get("init", 0.0), limit)
            verdict = replace(verdict, notes=(*verdict.notes, *slow, *xens.untried(vm)))
        sums = {
            name: FileSum(Path(name).name, _sum(future), (folder / name).stat().st_size, run.virtual.get(name))
            for name, future in before.items()
        }
        seconds = {**stages.seconds, **(seen.seconds() if seen else {})}
        last: dict[str, float] = {
            name: seconds.pop(name) for name in ("disks", "eviction", "checkpoint") if name in seconds
        }
        result = BootResult(
            name=vm.name,
            verdict=verdict,
            evidence=evidence,
            accelerator=chosen,
            machine="xenpv" if first else machine,
            hypervisor=vm.hypervisor,
            seconds={**seconds, **last},
            disks=tuple(sums[disk.file] for disk in vm.disks),
            kernel=tuple(sums[name] for name in _kernel_files(vm)),
            bases=tuple(sums[name] for name in bases),
            test=test,
            inputs=tuple(item.target for item in inputs),
            console=seen.console if seen else "",
            serial_log=out / vm.hypervisor / "serial.log",
            report=out / report.place(vm.hypervisor),
            argv=run.argv,
            memory=vm.memory,
            cpus=vm.vcpus,
            screen=screen,
            trials=tried,
            finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        report.write(result, scratch / "log", out)
    return result


def _kernel_files(vm: VirtualMachine) -> list[str]:
    return [name for name in (vm.kernel.kernel, vm.kernel.initrd) if name] if vm.kernel else []


def _sum(future: Future[str]) -> str:
    return future.result()


def readable(screen: Screen, evidence: Evidence) -> Screen:
    """Return the screen, its text only while it lies where firmware and boot loader put it.

    Linux scrolls a text screen by moving its start in the card's memory, which nothing outside of QEMU is told.
    """
    scrolled = evidence.came_to("kernel", "initrd", "init", "job", "power-off")
    return replace(screen, text="") if scrolled else screen


def _run_machine(
    run: _Run, machine: Literal["pc", "q35"], log: Path, stages: Stages, echo: Callable[[bytes], None] | None
) -> tuple[drive.Seen | None, str | None]:
    """Run the machine to its end; return what was seen, or in whose words it was refused."""
    try:
        shape = hardware(run.vm, machine)
        with stages.stage("prepare", "throw-away layers over the disks"):
            run.places.update(layers.make(shape, run.folder, run.scratch, run.instead()))
            run.empty = {name: place.layer.stat().st_size for name, place in run.places.items() if place.layer}
        run.shape = shape
        if run.wanted.saved:
            run.saved = Saved(run.scratch, shape)
        lines = [one for one in (run.recipe.boot_test.expect if run.recipe else ()) if one.serial is not None]

        def argv(channels: Channels) -> Sequence[str]:
            run.argv = tuple(run.command(channels, run.places))
            return run.argv

        async def save(session: Session) -> None:
            assert run.saved is not None
            await run.saved.take(session, run.places)

        start = run.domain(shape, stages) if run.first else functools.partial(sessions.start, argv)
        stages.events.begin("boot", f"{shape.machine}, {run.accelerator.name}")
        seen = asyncio.run(
            drive.drive(
                start,
                run.plan,
                shape.boot_disk or shape.disks[0],
                log=log,
                patterns=[one.serial for one in lines if one.serial and not one.absent],
                unwanted=[one.serial for one in lines if one.serial and one.absent],
                echo=echo,
                events=stages.events,
                cwd=run.scratch,
                at_job=save if run.saved else None,
                memory=shape.memory << 20,
                screen=shape.vnc,
            )
        )
        stages.events.end("boot", seen.ended, True)
    except HypervisorRefusalError as refusal:
        return None, "; ".join(str(problem) for problem in refusal.problems)
    except drive.RefusedError as error:
        return None, error.tail or str(error)
    return seen, None


def _evidence(run: _Run, seen: drive.Seen | None, refused: str | None, pool: Pool) -> Evidence:
    if seen is None:
        return Evidence(goal=run.plan.goal, stop="refused", refused=refused or "it did not say why")
    stopped: dict[str, StoppedDisk] = {}
    writable: list[tuple[StoppedDisk, StoppedDisk]] = []
    for disk in run.vm.disks:
        place, name = run.places[disk.device], Path(disk.file).name
        image = {"driver": disk.format or "raw", "file": {"driver": "file", "filename": str(place.image)}}
        stopped[disk.file] = before = StoppedDisk(name, image, run.scratch, disk.device)
        if place.layer:
            layer = {"driver": "qcow2", "file": {"driver": "file", "filename": place.layer.name}}
            stopped[disk.file] = StoppedDisk(name, layer, run.scratch, disk.device)
            before.prefix = f"{disk.device}-before"
            writable.append((before, stopped[disk.file]))
    off = any(event.name == "SHUTDOWN" and event.reason == "guest-shutdown" for event in seen.events)
    looks = [pool.submit(afterwards.judged, before, after, off=off) for before, after in writable]
    filesystems = tuple(one for look in looks for one in look.result())
    run.virtual.update({name: disk.virtual for name, disk in stopped.items() if disk.virtual})
    status, unread = _status(run, stopped, writable, seen.started_at)
    witness = Witness(
        matched=seen.matched,
        slow=seen.slow,
        status=status,
        exits=seen.exits,
        seconds=seen.seconds(),
        factor=run.plan.paced(seen.phases).factor,
        find=lambda path, on: outcome.find(run.recipe, stopped, path, on) if run.recipe else outcome.NO_FILE,
    )
    tried = run.recipe.boot_test if run.recipe else BootTest()
    return seen.evidence(
        run.plan.goal,
        filesystems=filesystems,
        status=status,
        expectations=expected.judge(tried.expect, witness),
        exit_status=tried.exit_status,
        written=run.written() if writable else None,
        unread=unread,
        job_log=outcome.job_log(list(outcome.job_places(run.recipe, stopped))) or seen.job,
    )


def _status(
    run: _Run,
    stopped: Mapping[str, StoppedDisk],
    writable: Sequence[tuple[StoppedDisk, StoppedDisk]],
    started_at: float,
) -> tuple[Mapping[str, Any] | None, tuple[str, ...] | None]:
    """Return the job's status, and the disks it was looked for on and that could not be read (None: not looked)."""
    if run.recipe is None:
        return outcome.any_status(writable, started_at)
    return (outcome.job_status(run.recipe, stopped, started_at) if run.recipe.job else None), None
