"""The read-back: opens the finished image read-only through libguestfs and compares it with the recipe.

It shares no code with what writes disks and trees: tables, fstab and grub.cfg have their own parsers, file systems are
read by the kernel and the tools of libguestfs' appliance. Its findings (kernels, packages) go into the manifest.
"""

from __future__ import annotations

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import ImageError, Location, Problem, SeveralProblemsError
from roost.host import guestfs
from roost.host.accelerator import ApplianceAccelerator
from roost.host.guestfs import Guest
from roost.host.guestfs_calls import JOURNALLED
from roost.recipe.model import Recipe
from roost.recipe.words import shown
from roost.verify import booting, disks, existing, filesystems, grub_menu, mounts, packages, programs, trees
from roost.verify.examination import Examination, Promised
from roost.verify.sealing import sealing
from roost.verify.texts import Wrong, text

Where = Callable[[Sequence[str | int]], Location | None]


@dataclass(frozen=True, slots=True)
class ReadBack:
    """What was confirmed, one line each, and facts for the manifest: kernels, packages, file systems, os."""

    findings: tuple[str, ...]
    facts: Mapping[str, Any]


class ReadBackError(SeveralProblemsError, ImageError):
    """The image does not match its recipe; `problems` are all differences."""


def nowhere(_key: Sequence[str | int]) -> Location | None:
    """Return None: the recipe was not read from a file."""
    return None


def _problem(what: str, where: Where) -> Problem:
    return Problem(f"the finished image: {what}", where(what.key) if isinstance(what, Wrong) else None)


@dataclass(frozen=True, slots=True)
class Appliance:
    """How libguestfs' appliance runs: `deadline` is in seconds, `stock` selects the one that supports LVM."""

    accelerator: ApplianceAccelerator
    log: Path
    deadline: float = 300.0
    stock: bool = False


def readback(
    recipe: Recipe,
    images: Mapping[str, tuple[Path, str]],
    appliance: Appliance,
    *,
    opened: Guest | None = None,
    where: Where = nowhere,
) -> ReadBack:
    """Compare the finished disks with their recipe.

    `images` is (path, format) by the disk's name, for every disk of the recipe; `opened` is a guest that already has
    them open, in the recipe's order; `where` returns the location of a key in the recipe. Raises `ReadBackError` with
    all differences, `HostError` when libguestfs does not work here, `ToolError` when it hangs.
    """
    missing = [disk.name for disk in recipe.disks if disk.name not in images]
    if missing:
        raise ImageError(f"no image of disk {', '.join(missing)} to read back")
    with contextlib.ExitStack() as stack:
        guest, complete = opened, time.monotonic()
        if guest is None:
            guest = stack.enter_context(
                guestfs.open_readonly(
                    [images[disk.name] for disk in recipe.disks],
                    accelerator=appliance.accelerator.kind,
                    log=appliance.log,
                    deadline=appliance.deadline,
                    stock=appliance.stock,
                )
            )
            guest.reread(complete)
        exam = Examination(recipe, guest)
        _examine(exam)
    if exam.wrong:
        raise ReadBackError(tuple(_problem(what, where) for what in exam.wrong), log=appliance.log)
    return ReadBack(tuple(exam.findings), exam.facts)


def _examine(exam: Examination) -> None:
    recipe = exam.recipe
    devices = exam.guest.devices()
    if len(devices) != len(recipe.disks):
        exam.wrong.append(f"{len(devices)} disks are seen, not {len(recipe.disks)}")
        return
    promised = [
        entry for disk, device in zip(recipe.disks, devices, strict=True) for entry in disks.check(exam, disk, device)
    ]
    usable = [entry for entry in promised if filesystems.check(exam, entry)]
    exam.facts["filesystems"] = [
        {"disk": entry.disk.name, "type": entry.area.filesystem, "uuid": entry.id, "mount": entry.area.mount}
        for entry in usable
    ]
    for entry in usable:
        if entry.disk.role == "seed":
            filesystems.seed(exam, entry)
    if recipe.edited:
        if _system(exam, usable):
            _tree(exam)
        else:
            exam.wrong.append("no root file system to examine")
        return
    root = next((entry for entry in usable if entry.area.mount == "/"), None)
    if root is None or not filesystems.mount(exam, usable):
        exam.wrong.append("no root file system to examine")
        return
    exam.findings.append(f"root: {root.area.filesystem} {root.id} on disk {root.disk.name}")
    mounts.check(exam, usable)
    if exam.boots:
        grub_menu.check(exam, usable)
    _tree(exam)


def _system(exam: Examination, usable: list[Promised]) -> bool:
    """Mount the system of an existing image, with the recipe's disks in it; return whether there is one."""
    root = existing.root(exam.guest, exam.seen)
    if root is None:
        return False
    exam.guest.mount_readonly(root.device, journal=root.type in JOURNALLED)
    lines = booting.mounts(text(exam.guest, "/etc/fstab") or "")
    mounted = {root.device: "/"}
    for line in sorted(lines, key=lambda line: line.target.count("/")):
        found = existing.chosen(line, exam.seen)
        if found and found.type != "swap" and found.device not in mounted and exam.guest.exists(line.target):
            mounted[found.device] = line.target
            with contextlib.suppress(guestfs.GuestfsError):
                exam.guest.mount_readonly(found.device, line.target, journal=found.type in JOURNALLED)
    names = frozenset(name for entry in exam.seen for name in entry.names)
    names |= {f"uuid={entry.id}".lower() for entry in usable}
    names |= {f"label={entry.area.label}" for entry in usable if entry.area.label}
    exam.wrong += existing.absent(lines, names)
    exam.facts["filesystems"] += [
        {
            "disk": exam.recipe.root_disk.name,
            "type": entry.type,
            "uuid": entry.uuid,
            "mount": mounted.get(entry.device),
            **({"subvolume": entry.subvolume} if entry.subvolume is not None else {}),
        }
        for entry in exam.seen
    ]
    exam.findings.append(f"root: {shown(root.type)} {shown(root.uuid)} on disk {exam.recipe.root_disk.name}")
    if exam.boots:
        wrong, exam.facts["kernels"], finding = existing.boots(exam.guest, root, "/boot" in mounted.values())
        exam.wrong += wrong
        exam.findings.append(finding)
    filesystems.mount(exam, [entry for entry in usable if entry.area.mount is not None], mounted=True)
    mounts.entries(exam, lines, usable)
    return True


def _tree(exam: Examination) -> None:
    """Check the content of the root file system."""
    before = len(exam.wrong)
    for check in (
        trees.job,
        programs.check,
        trees.first_boot,
        trees.users,
        trees.files,
        sealing,
    ):
        exam.wrong += check(exam.guest, exam.recipe)
    if len(exam.wrong) == before:
        sealed = "sealed: no machine-id, host keys, leases or passwords" if exam.recipe.seal else "not sealed"
        exam.findings.append(sealed)
    exam.facts["packages"], exam.facts["packages_from"] = packages.read(exam.guest)
    release = text(exam.guest, "/etc/os-release") or ""
    exam.facts["os"] = dict(re.findall(r'^([A-Z_]+)="?([^"\n]*)"?$', release, re.MULTILINE))
