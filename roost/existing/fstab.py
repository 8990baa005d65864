"""An existing image's fstab(5), adapted to the machine it will run in. Pure: text in, text out."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from roost.customize.fstab_reader import read
from roost.errors import ImageError
from roost.recipe.words import shown

#: Options of lines whose file system may be absent.
OPTIONAL = frozenset({"nofail", "noauto"})
#: Devices whose names depend on the machine.
_DISK = re.compile(r"/dev/(?:sd|vd|xvd|hd)[a-z]+\d*")
_MARK = "# not in this image: "


@dataclass(frozen=True, slots=True)
class Fitted:
    """The new text, and its changes as notes for the user."""

    text: str
    notes: tuple[str, ...]


def fit(text: str, absent: tuple[str, ...], uuids: Mapping[str, str], added: str) -> Fitted:
    """Return an fstab for the image's new machine.

    Lines of file systems that are `absent` are commented out: a machine would wait for them. Disks are named by UUID
    (`uuids`: name in the fstab → UUID), because device names differ between hypervisors. `added` are the lines of the
    recipe's own disks. Raises `ImageError` when both use the same mount point.
    """
    lines, notes = [], []
    kept = set()
    for line in text.rstrip("\n").split("\n") if text.strip() else []:
        fields = read(line)
        if not fields:
            lines.append(line)
            continue
        (entry,) = fields
        if entry.source in absent and not OPTIONAL & {*entry.options}:
            lines.append(_MARK + line)
            notes.append(f"/etc/fstab: {shown(entry.source)} ({shown(entry.mount)}) is not on any disk: commented out")
            continue
        if _DISK.fullmatch(entry.source) and entry.source in uuids:
            lines.append(line.replace(entry.source, f"UUID={uuids[entry.source]}", 1))
            notes.append(f"/etc/fstab: {entry.source} is now named by its UUID")
        else:
            lines.append(line)
        kept.add(entry.mount)
    for entry in read(added):
        if entry.mount.startswith("/") and entry.mount in kept:
            raise ImageError(
                f"the image already mounts a file system on {entry.mount}",
                hint="mount the recipe's disk elsewhere",
            )
    return Fitted("".join(f"{line}\n" for line in lines) + added, tuple(notes))
