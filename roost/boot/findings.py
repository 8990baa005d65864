"""Collects the evidence of a machine that has stopped, from its session and its disks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roost.boot import drive, expectations, integrity, outcome
from roost.boot.attempt import Attempt
from roost.boot.evidence import Evidence
from roost.boot.expectations import Actual
from roost.host.pool import Pool
from roost.recipe.boot_test import BootTest
from roost.verify.evidence import StoppedDisk


def evidence(run: Attempt, seen: drive.Observation | None, refused: str | None, pool: Pool) -> Evidence:
    """Return the evidence of a run that has ended; without `seen` the hypervisor `refused` it, with this message."""
    if seen is None:
        return Evidence(goal=run.plan.goal, stop="refused", refused=refused or "it did not say why")
    stopped: dict[str, StoppedDisk] = {}
    writable: list[tuple[StoppedDisk, StoppedDisk]] = []
    for disk in run.context.vm.disks:
        place, name = run.places[disk.device], Path(disk.file).name
        image = {"driver": disk.format or "raw", "file": {"driver": "file", "filename": str(place.image)}}
        stopped[disk.file] = before = StoppedDisk(name, image, run.scratch, disk.device)
        if place.layer:
            layer = {"driver": "qcow2", "file": {"driver": "file", "filename": place.layer.name}}
            stopped[disk.file] = StoppedDisk(name, layer, run.scratch, disk.device)
            before.prefix = f"{disk.device}-before"
            writable.append((before, stopped[disk.file]))
    off = any(event.name == "SHUTDOWN" and event.reason == "guest-shutdown" for event in seen.events)
    looks = [pool.submit(integrity.judged, before, after, off=off) for before, after in writable]
    filesystems = tuple(one for look in looks for one in look.result())
    run.virtual.update({name: disk.virtual for name, disk in stopped.items() if disk.virtual})
    status, unread, unused = _status(run, stopped, writable, seen.started_at)
    actual = Actual(
        matched=seen.matched,
        slow=seen.slow,
        status=status,
        exits=seen.exits,
        seconds=seen.seconds(),
        factor=run.plan.paced(seen.phases).factor,
        find=lambda path, on: (
            outcome.find(run.context.recipe, stopped, path, on) if run.context.recipe else outcome.NO_FILE
        ),
    )
    tried = run.context.recipe.boot_test if run.context.recipe else BootTest()
    return seen.evidence(
        run.plan.goal,
        filesystems=filesystems,
        status=status,
        expectations=expectations.judge(tried.expect, actual),
        exit_status=tried.exit_status,
        written=run.written() if writable else None,
        unread=unread,
        unused=unused,
        job_log=outcome.job_log(list(outcome.job_places(run.context.recipe, stopped))) or seen.job,
    )


def _status(
    run: Attempt,
    stopped: Mapping[str, StoppedDisk],
    writable: Sequence[tuple[StoppedDisk, StoppedDisk]],
    started_at: float,
) -> tuple[Mapping[str, Any] | None, tuple[str, ...] | None, str | None]:
    """Return the job's status, the disks that could not be searched for it, and the io disk if it was not used.

    The disks are None when none was searched; the io disk is None when it was used, or there is none.
    """
    recipe = run.context.recipe
    if recipe is None:
        return *outcome.any_status(writable, started_at), None
    if recipe.job is None:
        return None, None, None
    status, elsewhere = outcome.job_status(recipe, stopped, started_at)
    # Mounting a file system read-write already writes to it.
    io = next((one for _, one in writable if recipe.io_disk and Path(one.name).stem == recipe.io_disk.name), None)
    untouched = io is not None and io.name not in run.written()
    return status, None, recipe.io_disk.name if recipe.io_disk and (elsewhere or untouched) else None
