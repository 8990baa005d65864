"""The local executor: runs guests on this machine, several at a time, each as the test boot does.

A guest writes to throw-away layers, and the io disk with its changes is copied to `returned/` when it has ended. A
job that is killed meanwhile leaves nothing behind and can be run again from the same disk.
"""

from __future__ import annotations

import contextlib
import shutil
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, wait
from dataclasses import dataclass, replace
from pathlib import Path

from roost.boot import drive, xen_machine
from roost.boot.accelerator import Accelerator
from roost.boot.attempt import Attempt, run_machine
from roost.boot.backends import described
from roost.boot.context import Context, Given
from roost.boot.evidence import Evidence
from roost.boot.proof import finished, not_run
from roost.boot.run import choose_accelerator
from roost.boot.verdict import EARLY, judge
from roost.condor.machine import VirtualMachine
from roost.errors import HostError, ToolError
from roost.events import Events, Silent, Stages
from roost.host import capacity, causes, interruption, process
from roost.host.pool import Pool
from roost.recipe.quantities import format_size
from roost.run.model import End, Job, Run, Told
from roost.store.scratch import scratch_directory

MiB = 1 << 20
#: Bytes of memory that QEMU needs in addition to its guest's; TCG caches translated code.
OVERHEAD: Mapping[str, int] = {"kvm": 128 * MiB, "tcg": 320 * MiB}
#: Bytes of memory left for other processes.
SPARE = 512 * MiB
#: Deadline in seconds for copying a disk.
COPY = 3600.0
#: Timeout in seconds of a job without one in the recipe: the recipe's own default.
TIMEOUT = 4 * 3600.0


@dataclass(frozen=True, slots=True)
class Machine:
    """The machine for the jobs of one image: the test boot's context, and the accelerator that was chosen for it."""

    context: Context
    accelerator: Accelerator

    def seconds(self, timeout: float | None) -> float:
        """Return how long a job's machine may run in seconds: `timeout`, or the job's own plus the time for a boot."""
        if timeout is not None:
            return timeout
        recipe = self.context.recipe
        assert recipe is not None
        own = recipe.job.timeout if recipe.job else TIMEOUT
        return own + recipe.boot_test.timeout * self.accelerator.factor


def needed(vm: VirtualMachine, accelerator: Accelerator) -> int:
    """Return the bytes of host memory that a machine needs."""
    around = (xen_machine.FIRST_DOMAIN + xen_machine.HYPERVISOR) * MiB if vm.hypervisor == "xen" else 0
    return vm.memory * MiB + around + OVERHEAD[accelerator.name]


def at_once(wanted: int, each: int, available: int) -> int:
    """Return how many guests of `each` bytes run at a time; at least one, as in a test boot."""
    return max(1, min(wanted, (available - SPARE) // each))


@dataclass
class Local:
    """Runs jobs on this machine, at most `guests` at a time; `timeout` limits each machine's time, in seconds."""

    contexts: Mapping[str, Context]
    guests: int
    timeout: float | None = None
    name: str = "local"

    def __post_init__(self) -> None:
        self._machines: dict[str, Machine] = {}
        self._guests = self.guests

    def describe(self) -> Mapping[str, object]:
        """Return accelerator and guests at a time, as shown in the report."""
        names = sorted({one.accelerator.name for one in self._machines.values()})
        probe = next((one.accelerator.probe for one in self._machines.values() if one.accelerator.probe), None)
        return {
            "executor": self.name,
            "accelerator": ", ".join(names) or None,
            "kvm": {"state": probe.state, "seen": probe.seen, "fix": probe.fix} if probe else None,
            "guests": self._guests,
        }

    def run(self, run: Run, jobs: Sequence[Job], told: Told) -> None:
        """Run the jobs; raise `HostError` when the host cannot run them, `UsageError` for an unusable accelerator."""
        self._prepare({job.image for job in jobs}, run.events)
        # Jobs are handed out as threads become free, so that no queue of them builds up in memory.
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
        """Choose the accelerators, and the number of guests that fit into the host's memory."""
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
        # Guests that share processors run slower in proportion.
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
                # QEMU was killed together with all other tools, which is not the job's verdict.
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
            why = stopped or _unfinished(seen.evidence("job"))
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


def _unfinished(evidence: Evidence) -> str:
    """Return why a machine that powered itself off has no result of its job; empty if it has one, or if unknown."""
    # A guest whose system is not heard on the console may have its job elsewhere.
    early = evidence.has_reached("init", "job") and not finished(evidence)
    return not_run(evidence) or (EARLY if early else "")


def _keep_what_it_said(scratch: Path, log: Path) -> None:
    """Keep the console of a machine that failed because of the host, if there is still room for it."""
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
    """Write the io disk as the guest left it, atomically."""
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
