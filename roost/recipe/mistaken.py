"""Files named by mistake in place of a recipe: a disk image, a submit description; with a hint to their use."""

from __future__ import annotations

import re
from pathlib import Path

from roost.errors import Location, Problem
from roost.host import files, magic
from roost.host.paths import display

_HEAD = 64 << 10
_IMAGES = ("qcow2", "vmdk", "vhd", "vhdx", "vdi", "qed", "parallels", "iso", "squashfs", "luks", "boot-sector")
_QUEUE = re.compile(rb"^[ \t]*queue\b", re.IGNORECASE | re.MULTILINE)


def image(path: Path) -> Problem | None:
    """Return the problem with a file that is a disk image; None for any other or unreadable file."""
    found = magic.kind(_head(path), _IMAGES)
    if found is None:
        return None
    named = "a disk image" if found == "boot-sector" else f"a disk image ({found})"
    hint = "name the recipe that makes it; `os: {image: {path: FILE}}` makes a recipe of an image that exists"
    return Problem(f"{named}, not a recipe", Location(display(path)), hint)


def problem(path: Path) -> Problem | None:
    """Return the problem with a file that is not a recipe: an image, or a submit description (a queue statement)."""
    if _QUEUE.search(_head(path)):
        hint = f"inv lint {display(path)} judges it, inv boot {display(path)} boots its disks"
        return Problem("a submit description, not a recipe", Location(display(path)), hint)
    return image(path)


def _head(path: Path) -> bytes:
    try:
        with files.open_regular(path) as file:
            return file.read(_HEAD)
    except OSError:
        # The error is reported when the file is read.
        return b""
