"""Checks /etc/fstab of a finished image: it mounts only what exists, and every file system of the recipe."""

from __future__ import annotations

from roost.recipe.words import shown
from roost.verify import booting
from roost.verify.examination import Examination, Promised
from roost.verify.texts import text


def check(exam: Examination, systems: list[Promised]) -> None:
    """Check that fstab names the file systems of the recipe and no missing ones."""
    content = text(exam.guest, "/etc/fstab")
    if content is None:
        exam.wrong.append("there is no /etc/fstab")
        return
    lines = booting.mounts(content)
    labels = {entry.area.label for entry in systems if entry.area.label}
    ids = {entry.id.lower() for entry in systems}
    for line in lines:
        key, _, value = line.source.partition("=")
        value = value.strip('"')
        known = value.lower() in ids if key == "UUID" else value in labels if key == "LABEL" else None
        if known is False:
            exam.wrong.append(f"/etc/fstab mounts {shown(line.source)}, which is not on any disk")
        elif known is None and line.filesystem not in booting.PSEUDO | {"squashfs"}:
            exam.wrong.append(f"/etc/fstab names {shown(line.source)}, not a UUID: devices change their names")
    entries(exam, lines, systems)
    exam.findings.append(f"/etc/fstab: {len(lines)} file systems, all present")


def entries(exam: Examination, lines: list[booting.Mount], systems: list[Promised]) -> None:
    """Check that the lines of fstab mount all file systems of the recipe."""
    for entry in systems:
        target = entry.area.mount or ("none" if entry.area.filesystem == "swap" else None)
        if target is None or entry.disk.role == "io":
            continue
        sources = {f"uuid={entry.id}".lower(), f"label={entry.area.label}".lower()}
        mine = [line for line in lines if line.source.replace('"', "").lower() in sources]
        if entry.area.filesystem == "squashfs":
            # It has no UUID: match by target.
            mine = [line for line in lines if line.filesystem == "squashfs"]
        if not any(line.target == target or line.filesystem == "swap" == entry.area.filesystem for line in mine):
            exam.wrong.append(f"/etc/fstab does not mount {entry.name} on {target} by UUID={entry.id}")
