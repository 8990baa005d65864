"""The executor that is this machine: some guests at a time, each as the test boot runs one.

A guest writes on throw-away layers, and the io disk with what it wrote is copied to `returned/` when it has ended: what
is killed on the way leaves nothing behind, and its job is run again from the same disk.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

from roost.boot import drive
from roost.boot import xen as xens
from roost.boot.accelerator import Accelerator
from roost.boot.attempt import Attempt, run_machine
from roost.boot.backends import described
from roost.boot.context import Context, Given
from roost.boot.proof import not_run
from roost.boot.run import choose_accelerator
from roost.boot.verdict import judge
from roost.condor.machine import VirtualMachine
from roost.errors import HostError, ToolError
from roost.events import Events, Silent, Stages
from roost.host import capacity, causes, interruption, process
from roost.host.pool import Pool
from roost.recipe.quantities import format_size
from roost.run.model import End, Job, Run, Told
from roost.store.scratch import scratch_directory

MiB = 1 << 20
#: What QEMU takes beside the memory of its guest; TCG keeps what it has translated.
OVERHEAD: Mapping[str, int] = {"kvm": 128 * MiB, "tcg": 320 * MiB}
#: Bytes that are left to everybody else.
SPARE = 512 * MiB
#: Seconds for copying a disk.
COPY = 3600.0
#: Seconds of a job whose recipe says nothing: the recipe's own default.
TIMEOUT = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Machine:
    """What the jobs of one image run on: the test boot's context, and the accelerator that was chosen for it."""

    context: Context
    accelerator: Accelerator

    def seconds(self, timeout: float | None) -> float:
        """Return how long the machine of a job may run: `timeout`, or the job's own and what a boot may take."""
        if timeout is not None:
            return timeout
        recipe = self.context.recipe
        assert recipe is not None
        own = recipe.job.timeout if recipe.job else TIMEOUT
        return own + recipe.boot_test.timeout * self.accelerator.factor


def needed(vm: VirtualMachine, accelerator: Accelerator) -> int:
    """Return the bytes of memory that a machine takes of the host."""
    around = (xens.FIRST_DOMAIN + xens.HYPERVISOR) * MiB if vm.hypervisor == "xen" else 0
    return vm.memory * MiB + around + OVERHEAD[accelerator.name]


def at_once(wanted: int, each: int, available: int) -> int:
    """Return how many guests of `each` bytes run at a time; one always does, as in a test boot."""
    return max(1, min(wanted, (available - SPARE) // each))


@dataclass
class Local:
    """Runs jobs on this machine, at most `guests` at a time; `timeout` bounds each machine's time, in seconds."""

    contexts: Mapping[str, Context]
    guests: int
    timeout: float | None = None
    name: str = "local"

    def __post_init__(self) -> None:
        self._machines: dict[str, Machine] = {}
        self._guests = self.guests

    def describe(self) -> Mapping[str, object]:
        """Return accelerator and guests at a time, as the report shows them."""
        names = sorted({one.accelerator.name for one in self._machines.values()})
        probe = next((one.accelerator.probe for one in self._machines.values() if one.accelerator.probe), None)
        return {
            "executor": self.name,
            "accelerator": ", ".join(names) or None,
            "kvm": {"state": probe.state, "seen": probe.seen, "fix": probe.fix} if probe else None,
            "guests": self._guests,
        }

    def run(self, run: Run, jobs: Sequence[Job], told: Told) -> None:
        """Run the jobs; raise `HostError` when the host cannot run them, `UsageError` for an accelerator."""
        self._prepare({job.image for job in jobs}, run.events)
        # Only as many jobs are handed out as there are threads: nothing waits in memory.
        waiting = iter(jobs)
        with Pool(max_workers=self._guests, thread_name_prefix="roost-guest") as pool:
            running: set[Future[None]] = set()
            while True:
                while len(running) < self._guests and (job := next(waiting, None)) is not None:
                    running.add(pool.submit(self._one, run, job, told))
                if not running:
                    return
                done, running = wait(running, return_when=FIRST_COMPLETED)
                for future in done:
                    future.result()

    def _prepare(self, images: set[str], events: Events) -> None:
        """Choose the accelerators, and how many guests the host's memory takes."""
        for name in sorted(images):
            context = replace(self.contexts[name], events=events)
            self._machines[name] = Machine(context, choose_accelerator(context, Stages(events)))
        used = [self._machines[name] for name in images]
        each = max(needed(one.context.vm, one.accelerator) for one in used)
        available = capacity.memory_free()
        self._guests = at_once(self.guests, each, available)
        if self._guests < self.guests:
            what = f"a guest needs {format_size(each)}, and {format_size(available)} of memory are available"
            events.note(f"{self._guests} guest{'s' if self._guests > 1 else ''} at a time, not {self.guests}: {what}")
        # Guests that share the processors are each as slow as if the host were.
        cpus = max(one.context.vm.vcpus for one in used)
        share = max(1.0, self._guests * cpus / capacity.cores())
        for name, one in self._machines.items():
            chosen = one.accelerator
            self._machines[name] = replace(one, accelerator=replace(chosen, factor=round(chosen.factor * share, 2)))

    def _one(self, run: Run, job: Job, told: Told) -> None:
        machine = self._machines[job.image]
        context, suffix = machine.context, run.format(job)
        limit = machine.seconds(self.timeout)
        with scratch_directory() as scratch:
            given = Given(run.disk(job), limit)
            attempt = Attempt(replace(context, job=given), machine.accelerator, scratch)
            told.started(job)
            begin = time.monotonic()
            try:
                seen, refused = run_machine(attempt, Stages(Silent()))
            except HostError:
                _keep_what_it_said(scratch, run.place.log(job.name))
                raise
            if interruption.interrupted():
                # Its QEMU was killed with all other tools: that says nothing of the job.
                raise KeyboardInterrupt
            seconds, more = time.monotonic() - begin, {"accelerator": machine.accelerator.name}
            _keep_log(scratch / "log" / "serial.log", run.place.log(job.name))
            if seen is None:
                why = f"the machine is not started: {refused}"
                told.ended(End(job.name, None, seconds, "never started", why, more=more))
                return
            disk = run.place.returned / f"{job.name}.{suffix}"
            _copy(attempt, suffix, disk)
            stopped = _why(seen, limit)
            why = stopped or not_run(seen.evidence("job"))
            told.ended(End(job.name, disk, seen.ended, None, why, stopped is not None, more))


def _why(seen: drive.Observation, limit: float) -> str | None:
    """Return why a machine did not power itself off, or None when it did."""
    if any(event.name == "SHUTDOWN" and event.reason == "guest-shutdown" for event in seen.events):
        return None
    if seen.stop == "timeout":
        where = "job" if any(name == "job" for name, _ in seen.phases) else seen.phases[-1][0]
        return f"its machine was stopped after {limit:.0f} s, in the phase {where}"
    verdict = judge(seen.evidence("job"))
    return verdict.detail


def _keep_what_it_said(scratch: Path, log: Path) -> None:
    """Keep the console of a machine that the host could not run on, though there may be no room for anything."""
    for layer in scratch.iterdir():
        if layer.is_file():
            layer.unlink()
    with contextlib.suppress(HostError):
        _keep_log(scratch / "log" / "serial.log", log)


def _keep_log(console: Path, log: Path) -> None:
    partial = log.with_name(f".{log.name}.partial")
    try:
        if console.exists():
            shutil.copyfile(console, partial)
        else:
            partial.write_bytes(b"")
        partial.replace(log)
    except OSError as error:
        raise causes.unwritable(log, error) from error


def _copy(attempt: Attempt, suffix: str, disk: Path) -> None:
    """Write the io disk as the guest left it; it appears whole or not at all."""
    assert attempt.io is not None
    layer = attempt.places[attempt.io].layer
    assert layer is not None
    partial = disk.with_name(f".{disk.name}.partial")
    argv = ["qemu-img", "convert", "-O", suffix, "-t", "unsafe", described(layer, "qcow2"), f"file:{partial}"]
    try:
        process.run(argv, deadline=COPY, log=attempt.scratch / "log" / "qemu-img.log", what=f"cannot write {disk.name}")
        partial.replace(disk)
    except ToolError as error:
        raise HostError(error.problem.what, hint="is there space for the io disks?", tail=error.tail) from error
    except OSError as error:
        raise causes.unwritable(disk, error) from error
    finally:
        partial.unlink(missing_ok=True)
