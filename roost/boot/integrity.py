"""Writable disks before and after the run: each file system still exists, was unmounted, and is sound.

The reference is the image's content before the run: a disk that held a file system and holds none now was overwritten.
What cannot be judged is listed too, with the reason.
"""

from __future__ import annotations

import filecmp
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from roost.errors import RoostError
from roost.host import process
from roost.verify import structure
from roost.verify.evidence import Area, FileSystem, StoppedDisk

#: Types that a guest cannot write to: any change of their bytes is damage.
READ_ONLY = frozenset({"squashfs", "erofs"})


def known(disk: StoppedDisk) -> tuple[Area, ...] | str:
    """Return the parts of a disk, or why they cannot be read."""
    try:
        return disk.areas()
    except (RoostError, OSError, ValueError, KeyError) as error:
        return error.problem.what if isinstance(error, RoostError) else str(error)


def judged(before: StoppedDisk, after: StoppedDisk, *, off: bool) -> tuple[FileSystem, ...]:
    """Return the state of each file system of a disk after the run.

    `off` means that the guest powered itself off: only then must it have unmounted, and only then is the structure
    checked.
    """
    was, now = known(before), known(after)
    if isinstance(now, str):
        return (FileSystem(after.name, 0, "disk", None, f"cannot be read: {now}"),)
    found = list(_present(before, after, now, off=off))
    if isinstance(was, str):
        why = f"what it held before the run is not known: {was}"
        return (*found, FileSystem(after.name, 0, "disk", None, why))
    lost = tuple(_lost(after.name, was, now))
    lost_partitions = {one.partition for one in lost}
    return (*(one for one in found if one.partition not in lost_partitions), *lost)


def _lost(name: str, was: Sequence[Area], now: Sequence[Area]) -> Iterator[FileSystem]:
    """Yield what existed before and is missing now."""
    held = {area.number: area.type for area in now if area.type}
    for area in was:
        # A disk that got a partition table with a file system was set up again, not overwritten.
        if area.type and area.number not in held and not (area.number == 0 and held):
            seen = f"it held {area.type} before the run and holds no file system now"
            yield FileSystem(name, area.number, area.type, False, seen, lost=True)


def _present(before: StoppedDisk, after: StoppedDisk, now: Sequence[Area], *, off: bool) -> Iterator[FileSystem]:
    for area in now:
        if not area.type and area.no_files:
            continue
        if not area.type:
            seen = "it holds no file system that roost knows: not judged"
            yield FileSystem(after.name, area.number, _other(after, area), None, seen)
            continue
        clean, seen = area.clean, area.seen
        if off and clean is not False:
            try:
                clean, seen = _sound(before, after, area)
            except (RoostError, OSError) as error:
                why = error.problem.what if isinstance(error, RoostError) else str(error)
                clean, seen = None, f"its structure was not checked: {why}"
        yield FileSystem(after.name, area.number, area.type, clean, seen)


def _sound(before: StoppedDisk, after: StoppedDisk, area: Area) -> structure.Judged:
    compared = area.type in READ_ONLY
    if not compared and area.type not in structure.CHECKED:
        return area.clean, area.seen
    # A copy is sparse: it takes the space in use, at most the whole part. To be compared, it is copied twice.
    free = shutil.disk_usage(after.directory).free // (2 if compared else 1)
    if area.size > free and _in_use(before, after) > free // 2:
        return None, "its structure was not checked: there is no room for a copy of it"
    if compared:
        return _same(before, after, area)
    return structure.check(area.type, after.copy(area.number))


def _in_use(*disks: StoppedDisk) -> int:
    """Return the bytes allocated by the files of disks."""
    names = [str(disk.node["file"]["filename"]) for disk in disks]
    paths = [disk.directory / name for disk, name in zip(disks, names, strict=True)]
    return sum(Path(path).stat().st_blocks * 512 for path in paths)


def _same(before: StoppedDisk, after: StoppedDisk, area: Area) -> structure.Judged:
    """Compare a part with its state before the run.

    Copies are compared, because `qemu-img compare` of QEMU 7.2 reports differences between equal parts of a disk and of
    an overlay over it when only a part of a disk is given (`offset` of the raw driver).
    """
    was = next((one for one in before.areas() if (one.number, one.size) == (area.number, area.size)), None)
    if was is None:
        return False, f"{area.type} is read-only, and the run changed its partition"
    if filecmp.cmp(before.copy(was.number), after.copy(area.number), shallow=False):
        return True, "as it was before the run"
    return False, f"{area.type} is read-only, and the run changed its bytes"


def _other(disk: StoppedDisk, area: Area) -> str:
    """Return util-linux' name for the content of a part: crypto_LUKS, ntfs and so on; else `unknown`."""
    argv = ["blkid", "-p", "-o", "value", "-s", "TYPE", f"{disk.prefix}-head.raw"]
    if area.number:
        argv[-1:] = ["-O", str(area.offset), "-S", str(area.size), argv[-1]]
    done = process.run(argv, deadline=30, check=False, capture=True, cwd=disk.directory)
    word = done.text.strip()
    return word if word.isprintable() and 0 < len(word) < 32 else "unknown"
