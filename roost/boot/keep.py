"""Keeps the changes of an interactive boot: whole disks in a new directory; the image is not changed.

The built image and its manifest, sums and verdict are not touched and still match. The directory has everything that
the machine needs under the same names, so that its submit description can be booted (`inv boot DIRECTORY/kvm.sub`) and
submitted.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Mapping
from pathlib import Path

from roost.boot.backends import DiskPlace, described
from roost.condor.hardware import Hardware
from roost.errors import ImageError, UsageError
from roost.host import process, temporary

#: Seconds for copying one disk.
DEADLINE = 3600.0


def refuse_if_taken(directory: Path) -> None:
    """Raise `UsageError` if the directory exists: kept disks are not overwritten."""
    if directory.exists():
        raise UsageError(f"{directory} exists: what was kept in it stays", hint="move it away, or boot it instead")


def keep(shape: Hardware, places: Mapping[str, DiskPlace], others: Iterable[Path], directory: Path, log: Path) -> None:
    """Write the disks with their changes, and `others` (kernel files, submit descriptions), into the new `directory`.

    It appears whole or not at all. Raises `ImageError` when there is no space, or when two files share a name.
    """
    refuse_if_taken(directory)
    try:
        with temporary.directory("kept", directory.parent, hidden=True) as partial:
            for disk in shape.disks:
                place = places[disk.target]
                target = partial / Path(disk.file).name
                if target.exists():
                    raise ImageError(f"two disks are called {target.name}: they cannot be kept in one directory")
                image, driver = (place.layer, "qcow2") if place.layer else (place.image, disk.format)
                process.run(
                    ["qemu-img", "convert", "-O", disk.format, described(image, driver), target],
                    deadline=DEADLINE,
                    log=log,
                    what=f"cannot keep {target.name}",
                )
                target.chmod(0o644)
            for path in others:
                shutil.copyfile(path, partial / path.name)
            partial.chmod(0o755)
            partial.rename(directory)
    except OSError as error:
        raise ImageError(f"cannot keep the disks in {directory}: {error.strerror}") from error
