"""The test boot: the machine that HTCondor would make, run on throw-away layers and judged by its results.

`boot` has all steps: choose the accelerator, put a layer over each disk, run, read the disks, judge, write the verdict.
The checksums of all files are taken while the guest runs and again afterwards, so that the verdict is bound to bytes
that were the same throughout.
"""

from __future__ import annotations

from concurrent.futures import Future
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from roost.boot import domain, findings, host_kernels, outcome, trials, waits
from roost.boot import xen as xens
from roost.boot.accelerator import Accelerator
from roost.boot.attempt import Attempt, run_machine
from roost.boot.context import Context
from roost.boot.drive import Screen
from roost.boot.evidence import Evidence
from roost.boot.result import BootResult, FileSum
from roost.boot.trials import Resumption, Trials
from roost.boot.verdict import judge
from roost.errors import ImageError
from roost.events import Stages
from roost.host import checksum, files, jsontext
from roost.host.pool import Pool
from roost.recipe.words import shown
from roost.store.scratch import scratch_directory

__all__ = ["BootResult", "FileSum", "boot", "readable"]

#: Stages after the guest's phases.
_LATER = ("disks", "eviction", "checkpoint")


def boot(context: Context, out: Path) -> BootResult:
    """Boot the machine of a context, and judge it by its recipe.

    Writes HYPERVISOR.json, the logs in HYPERVISOR/ and a report into `out`, each whole or not at all. Raises
    `ImageError` when a file is missing, `HostError` when KVM is required and does not work or the host lacks a tool,
    `UsageError` for an unknown accelerator. A guest that fails is not an exception: `passed` is false.
    """
    from roost.boot import report

    vm, directory = context.vm, context.directory
    stages = Stages(context.events)
    for name in context.files:
        _require_file(directory, name)
    for text in domain.warnings(vm):
        stages.note(text)
    chosen = choose_accelerator(context, stages)
    stages.events.expect(last_time(out / f"{vm.hypervisor}.json", chosen.name))
    with scratch_directory() as scratch, Pool(max_workers=4, thread_name_prefix="roost-boot") as pool:
        wanted = trials.wanted(context.recipe, context.how.evict, domain=context.first is not None)
        run = Attempt(context, chosen, scratch, wanted)
        before = {name: pool.submit(checksum.sha256, directory / name) for name in dict.fromkeys(context.files)}
        seen, refused = run_machine(run, stages)
        with stages.stage("disks", "what the guest left on them"):
            after = {name: pool.submit(checksum.sha256, directory / name) for name in before}
            evidence = findings.evidence(run, seen, refused, pool)
            changed = tuple(name for name in before if _sum(before[name]) != _sum(after[name]))
        evidence = outcome.with_changed(evidence, changed)
        verdict = judge(evidence)
        tried = Trials()
        if verdict.passed and seen is not None:
            resumption = Resumption(run.checkpoint, run.command, run.plan, run.io) if run.checkpoint else None
            tried = trials.run(run.wanted, seen, evidence.powered_off, resumption, stages)
            evidence = replace(evidence, expectations=(*evidence.expectations, *tried.expected))
            verdict = judge(evidence)
        verdict = replace(verdict, notes=(*verdict.notes, *run.notes, *tried.notes))
        screen = readable(seen.screen if seen else Screen(), evidence)
        if not verdict.passed and screen.text:
            verdict = replace(verdict, notes=(*verdict.notes, f"on its screen: {screen.text.splitlines()[-1].strip()}"))
        if seen is not None:
            limit = run.plan.paced(seen.phases).limit(waits.INIT)
            slow = waits.slow(seen.waits, seen.silence, seen.seconds().get("init", 0.0), limit)
            verdict = replace(verdict, notes=(*verdict.notes, *slow, *_untried(context)))
        sums = {
            name: FileSum(Path(name).name, _sum(future), (directory / name).stat().st_size, run.virtual.get(name))
            for name, future in before.items()
        }
        seconds = {**stages.seconds, **(seen.seconds() if seen else {})}
        last: dict[str, float] = {name: seconds.pop(name) for name in _LATER if name in seconds}
        result = BootResult(
            name=vm.name,
            verdict=verdict,
            evidence=evidence,
            accelerator=chosen,
            machine="xenpv" if context.first else context.how.machine,
            hypervisor=vm.hypervisor,
            seconds={**seconds, **last},
            disks=tuple(sums[disk.file] for disk in vm.disks),
            kernel=tuple(sums[name] for name in context.kernel_files),
            bases=tuple(sums[name] for name in context.bases),
            test=context.test,
            inputs=tuple(item.target for item in context.inputs),
            console=seen.console if seen else "",
            serial_log=out / vm.hypervisor / "serial.log",
            report=out / report.place(vm.hypervisor),
            argv=run.argv,
            memory=vm.memory,
            cpus=vm.vcpus,
            screen=screen,
            trials=tried,
            version=seen.version if seen else "",
            finished=datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        )
        report.write(result, scratch / "log", out)
    return result


def _require_file(directory: Path, name: str) -> None:
    try:
        wrong = files.unfit(directory / name)
    except FileNotFoundError as error:
        raise ImageError(f"there is no {shown(name, 200)} in {directory}", hint="build the image first") from error
    except OSError as error:
        raise ImageError(f"{shown(name, 200)} cannot be read: {error.strerror}") from error
    if wrong is not None:
        raise ImageError(f"{shown(name, 200)} is {wrong}")


def last_time(verdict: Path, accelerator: str) -> dict[str, float]:
    """Return how long the stages of the last boot took, if it passed with this accelerator; else an empty mapping."""
    try:
        record = jsontext.loads(files.read_bytes(verdict))
        if not record["passed"] or record["accelerator"] != accelerator:
            return {}
        seconds = {str(name): float(taken) for name, taken in record["seconds"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return {}
    stages = {name: seconds.pop(name) for name in ("probe", "prepare", *_LATER) if name in seconds}
    # The rest are the phases of the guest.
    return {**stages, "boot": sum(seconds.values())}


def choose_accelerator(context: Context, stages: Stages) -> Accelerator:
    """Return the accelerator of the machine; its own kernel is probed, if there is one next to its image."""
    how, first = context.how, context.first
    with stages.stage("probe", "does a kernel boot under KVM"):
        candidate = context.directory / context.vm.kernel.kernel if context.vm.kernel else None
        usable = candidate if candidate and host_kernels.is_kernel(candidate) else None
        return xens.choose(how.accel, first, require_kvm=how.require_kvm, kernel=usable, events=context.events)


def _untried(context: Context) -> tuple[str, ...]:
    """Return which of the image's settings the boot does not test."""
    checkpoint = bool(context.recipe and context.recipe.submit.checkpoint)
    return xens.untried(context.vm, checkpoint=checkpoint)


def _sum(future: Future[str]) -> str:
    return future.result()


def readable(screen: Screen, evidence: Evidence) -> Screen:
    """Return the screen, with its text only while it is where firmware and boot loader put it.

    Linux scrolls a text screen by moving its start in the card's memory, which cannot be seen outside QEMU.
    """
    scrolled = evidence.has_reached("kernel", "initrd", "init", "job", "power-off")
    return replace(screen, text="") if scrolled else screen
