"""Checks the file systems of finished disks against the recipe: type, UUID, label, size, free space, mount points."""

from __future__ import annotations

import re

from roost.host.guestfs import GuestfsError
from roost.host.guestfs_calls import JOURNALLED
from roost.recipe.quantities import format_size
from roost.recipe.words import shown
from roost.verify.examination import Examination, Promised
from roost.verify.texts import text


def check(exam: Examination, promised: Promised) -> bool:
    """Compare the device's content with the promise; return whether it can be mounted as promised."""
    area, seen = promised.area, exam.guest.blkid(promised.device)
    kind = seen.get("TYPE")
    if kind != area.filesystem:
        exam.wrong.append(f"{promised.name}: {shown(kind or 'nothing')} is there, not {area.filesystem}")
        return False
    if kind != "squashfs" and seen.get("UUID", "").lower() != promised.id.lower():
        exam.wrong.append(f"{promised.name}: its UUID is {shown(seen.get('UUID', 'none'))}, not {promised.id}")
    label = seen.get("LABEL", "")
    if label.lower() != (area.label or "").lower() if kind == "vfat" else label != (area.label or ""):
        exam.wrong.append(f"{promised.name}: its label is '{shown(label)}', not '{area.label or ''}'")
    if area.size is not None and exam.guest.device_size(promised.device) < area.size:
        exam.wrong.append(f"{promised.name}: smaller than {format_size(area.size)}")
    if kind in {"ext2", "ext3", "ext4"}:
        _ext(exam, promised)
    return True


def _ext(exam: Examination, promised: Promised) -> None:
    try:
        seen = exam.guest.ext_parameters(promised.device)
    except GuestfsError:
        seen = {}
    if seen.get("Filesystem state") != "clean":
        exam.wrong.append(f"{promised.name}: its state is '{shown(seen.get('Filesystem state', 'unknown'))}'")
    try:
        free = (int(seen["Free blocks"]) - int(seen["Reserved block count"])) * int(seen["Block size"])
    except (KeyError, ValueError):
        exam.wrong.append(f"{promised.name}: its superblock does not record the free space")
        return
    if promised.area.free is not None and free < promised.area.free:
        what = f"{format_size(free)} are free, not {format_size(promised.area.free)}"
        exam.wrong.append(f"{promised.name}: {what}")


def mount(exam: Examination, systems: list[Promised], *, mounted: bool = False) -> bool:
    """Mount the file systems as the guest will; return whether the root exists (`mounted`: already mounted)."""
    for promised in sorted(systems, key=lambda entry: entry.area.mount or ""):
        target = promised.area.mount
        if target is None or (target != "/" and not mounted):
            continue
        try:
            exam.guest.mount_readonly(promised.device, target, journal=promised.area.filesystem in JOURNALLED)
        except GuestfsError as refused:
            exam.wrong.append(f"{promised.name}: cannot be mounted on {target}: {refused.problem.what}")
        else:
            mounted = mounted or target == "/"
            _free(exam, promised, target)
    return mounted


def _free(exam: Examination, promised: Promised, target: str) -> None:
    """Check the promised free space of types that report it only when mounted."""
    if promised.area.filesystem not in {"xfs", "btrfs"} or promised.area.free is None:
        return
    free = exam.guest.available(target)
    if free < promised.area.free:
        what = f"{format_size(free)} are free, not {format_size(promised.area.free)}"
        exam.wrong.append(f"{promised.name}: {what}")


def seed(exam: Examination, promised: Promised) -> None:
    """Check that cloud-init finds its files on the disk with role seed."""
    try:
        exam.guest.mount_readonly(promised.device)
    except GuestfsError as refused:
        exam.wrong.append(f"{promised.name}: cannot be mounted: {refused.problem.what}")
        return
    user, meta = (text(exam.guest, f"/{name}") for name in ("user-data", "meta-data"))
    if user is None:
        exam.wrong.append(f"{promised.name}: there is no user-data")
    if not re.search(r'^["\']?instance-id["\']?:', meta or "", re.MULTILINE):
        exam.wrong.append(f"{promised.name}: meta-data names no instance")
    exam.guest.unmount_all()
    exam.findings.append(f"{promised.name}: user-data and meta-data present")
