"""Returned files and their names, and jobs that overwrite each other's (docs/vm-universe.md, section 3).

Unlike other rules these compare jobs with each other, including jobs that differ only in their process number.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from roost.condor.rules.model import Effect, Finding, Rule, Severity, shown
from roost.condor.rules.transfer import OUTPUT_COLLIDES, REMAP_COLLIDES, SHARED_WRITTEN, remaps_of
from roost.condor.rules.view import JobView
from roost.condor.submit.macros import Expander
from roost.condor.submit.source_text import Traced
from roost.errors import Location
from roost.host import numbers


@dataclass(frozen=True, slots=True)
class ReturnedFile:
    """A file that a job leaves: its name in the sandbox (or the shared path), its destination, its place and rule."""

    name: str
    path: str
    where: Location
    rule: Rule


def collisions(views: Sequence[JobView]) -> Iterator[Finding]:
    """Yield a finding where two jobs of a description return files under the same name."""
    taken: dict[tuple[str, str], list[tuple[int, int, ReturnedFile]]] = {}
    for number, view in enumerate(views):
        for instance, target in _instances(view):
            if target.path != os.devnull:
                taken.setdefault((target.rule.code, target.path), []).append((number, instance, target))
    for (code, path), found in taken.items():
        jobs = {(number, instance) for number, instance, _ in found}
        if len(jobs) > 1:
            target = found[0][2]
            yield _finding(code, path, target, *_counted([views[number] for number in {one[0] for one in found}]))


def _counted(views: Sequence[JobView]) -> tuple[int, bool]:
    """Return the number of jobs, and whether it is known."""
    counts = [view.job.count for view in views]
    rows = [
        1 if view.job.queue and view.job.queue.keyword else count for view, count in zip(views, counts, strict=True)
    ]
    return max(2, sum(count or 1 for count in rows)), all(count is not None for count in counts)


def _finding(code: str, path: str, target: ReturnedFile, jobs: int, known: bool) -> Finding:
    many = f"{jobs} jobs" if known else "the jobs, if there are more than one,"
    rule = target.rule if known else target.rule.but(Severity.WARNING, Effect.OK)
    if code == SHARED_WRITTEN.code:
        message = f"{many} write {shown(path)}: what they leave there depends on whether they run at the same time"
    elif code == REMAP_COLLIDES.code:
        message = f"{many} bring back {shown(target.name)} as {shown(path)}"
    else:
        message = f"{many} bring back {shown(target.name)} under that name, over each other and over a submitted file"
    return rule.at(target.where, message)


def _instances(view: JobView) -> Iterator[tuple[int, ReturnedFile]]:
    """Yield the returned files of a row's first job, and of its second where the row is queued more than once."""
    yield from ((0, target) for target in _targets(view))
    queue, count = view.job.queue, view.job.count
    each = count if queue is None or view.job.row is None else queue.count
    if queue is None or (each is not None and each < 2):
        return
    live = dict(view.job.live)
    process = live.get("process")
    number = numbers.whole(process.text) if process else None
    next_number = str((number or 0) + 1)
    for name, text in (("process", next_number), ("procid", next_number), ("step", "1")):
        live[name] = Traced.of(text, queue.line.at(), fixed=True)
    other = JobView(
        view.description, replace(view.job, live=live), Expander(view.job.table, live, view.expander.environment)
    )
    yield from ((1, target) for target in _targets(other))


def _targets(view: JobView) -> Iterator[ReturnedFile]:
    if not view.is_vm or view.job.count == 0 or view.get("vm_disk") is None:
        return
    for item in view.usable_disks:
        path = item.fields[0].text
        if path.startswith("/") and not view.transferred(path) and item.fields[2].text != "r":
            yield ReturnedFile(path, path, view.disk_place(item.fields[0].start), SHARED_WRITTEN)
    home = _directory(view)
    if home is None or view.boolean("vm_no_output_vm"):
        return
    remaps = remaps_of(view)
    for name, text, where in _returned(view):
        new = remaps.get(text) or remaps.get(name)
        path = new if new is not None else name
        path = path + name if path.endswith("/") else path
        rule = OUTPUT_COLLIDES if new is None else REMAP_COLLIDES
        place = view.get("transfer_output_remaps", "TransferOutputRemaps")
        spot = place.where if new is not None and place else where
        yield ReturnedFile(name, path if "://" in path else _normal(posixpath.join(home, path)), spot, rule)


def _normal(path: str) -> str:
    return posixpath.normpath(path) if path else path


def _directory(view: JobView) -> str | None:
    """Return the destination directory of a job's files, or None when it is not known."""
    # output_directory exists in HTCondor 25.12 and later.
    destination = view.get("output_destination", "OutputDestination") or view.get("output_directory")
    command = destination or view.get("initialdir", "initial_dir", "iwd")
    remaps = view.get("transfer_output_remaps", "TransferOutputRemaps")
    if (command and command.unknown) or (remaps and remaps.unknown):
        return None
    return posixpath.join(view.description.base, command.text if command else "")


def _returned(view: JobView) -> Iterator[tuple[str, str, Location]]:
    """Yield the returned files: the name in the sandbox, the name in the description, and its location."""
    command = view.get("transfer_output_files", "TransferOutput")
    if command is not None:
        if not command.unknown:
            yield from ((item.name, item.text, item.where) for item in view.outputs if not item.is_contents)
        return
    vm_disk, inputs = view.get("vm_disk"), view.get("transfer_input_files", "TransferInput")
    if (vm_disk and vm_disk.unknown) or (inputs and inputs.unknown):
        return
    label = view.get("executable", "Cmd")
    for item in view.usable_disks:
        name = item.fields[0].text.rpartition("/")[2]
        # HTCondor never returns a file with the name of the executable.
        if (
            item.fields[2].text == "r"
            or not view.transferred(name)
            or (label and label.text.rpartition("/")[2] == name)
        ):
            continue
        yield name, name, view.disk_place(item.fields[0].start)
