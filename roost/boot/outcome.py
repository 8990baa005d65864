"""What a guest left under names of the recipe: files by their mount points, and the job's status.json."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from roost.boot.evidence import Evidence
from roost.errors import RoostError
from roost.host import jsontext
from roost.host.safetext import clean
from roost.recipe.model import Recipe
from roost.verify.evidence import CONTENT, READABLE, Area, FoundFile, StoppedDisk, place_of

#: Names of the runner's files: on the io disk, or without one in a directory of the root.
STATUS, LOG = "status.json", "job.log"
#: How many lines of a job's log are kept.
LOG_LINES = 20
OWN_IO = "/var/lib/roost/io"
#: The guest's clock, set from the virtual one at its start, may be off by this many seconds.
CLOCK = 5.0
NO_FILE = FoundFile(None, 0, 0, "nothing is known of its disks")


def with_changed(evidence: Evidence, changed: tuple[str, ...]) -> Evidence:
    """Return the evidence with the images whose bytes changed."""
    return replace(evidence, changed=changed)


def disk_named(stopped: Mapping[str, StoppedDisk], name: str) -> StoppedDisk | None:
    """Return the disk of the recipe's disk `name`: its file is NAME.qcow2 or NAME.raw."""
    return next((disk for file, disk in stopped.items() if name in (Path(file).stem, Path(file).name)), None)


def mounts(recipe: Recipe) -> dict[str, tuple[str, int]]:
    """Return the place of each of the recipe's mount points: (disk, partition; 0 is the whole disk)."""
    return {
        area.mount: (disk.name, number if disk.partitions else 0)
        for disk in recipe.disks
        for number, area in enumerate(disk.areas, 1)
        if area.mount
    }


def _existing(recipe: Recipe, stopped: Mapping[str, StoppedDisk]) -> dict[str, tuple[str, int]]:
    """Return the place of an existing image's root, whose layout the recipe does not have: the one with accounts."""
    disk = disk_named(stopped, recipe.root_disk.name) if recipe.edited else None
    if disk is None:
        return {}
    try:
        areas = disk.areas()
    except RoostError:
        return {}
    for area in areas:
        with contextlib.suppress(RoostError):
            if area.type == "ext" and disk.read(area.number, "/etc/passwd").content is not None:
                return {"/": (recipe.root_disk.name, area.number)}
    # An area that cannot be read here raises an error when it is used.
    return {"/": (recipe.root_disk.name, areas[-1].number)} if areas else {}


def find(recipe: Recipe, stopped: Mapping[str, StoppedDisk], path: str, on: str | None) -> FoundFile:
    """Return the file at `path`: of the file system on disk `on`, or of the mount point that it is below."""
    places = {**_existing(recipe, stopped), **mounts(recipe)}
    if on is not None:
        places = {mount: place for mount, place in places.items() if place[0] == on}
    place = place_of(places, path) or ((on, 0, path) if on is not None else None)
    if place is None:
        return FoundFile(None, 0, 0, "no disk of the recipe holds it")
    name, number, inside = place
    disk = disk_named(stopped, name)
    if disk is None:
        return FoundFile(None, 0, 0, f"the machine has no disk {name}")
    try:
        return disk.read(number, inside)
    except RoostError as error:
        return FoundFile(None, 0, 0, f"it cannot be read: {error.problem.what}")


def job_status(
    recipe: Recipe, stopped: Mapping[str, StoppedDisk], started_at: float
) -> tuple[Mapping[str, Any] | None, bool]:
    """Return the job's status.json of this run, and whether it is on the root although the recipe has an io disk.

    It is None when there is none, or only one of an earlier run. `started_at` is when the machine started, in seconds
    since the epoch.
    """
    candidates = [("/" + STATUS, recipe.io_disk.name)] if recipe.io_disk else []
    for path, on in [*candidates, (f"{OWN_IO}/{STATUS}", None)]:
        found = find(recipe, stopped, path, on)
        status = parse_status(found.content or b"")
        if status and began(status) >= started_at - CLOCK:
            return status, bool(candidates) and on is None
    return None, False


def job_log(places: Sequence[tuple[StoppedDisk, int, str]]) -> tuple[str, ...]:
    """Return the last lines of the first job.log among (disk, area, path); empty if it is too long to read."""
    for disk, number, path in places:
        try:
            found = disk.read(number, path)
        except (RoostError, OSError, ValueError):
            continue
        if found.content is not None and found.size <= CONTENT:
            lines = [clean(line) for line in found.content.splitlines()]
            return tuple([line for line in lines if line][-LOG_LINES:])
    return ()


def job_places(recipe: Recipe | None, stopped: Mapping[str, StoppedDisk]) -> Iterator[tuple[StoppedDisk, int, str]]:
    """Yield where a job's log may be: on the io disk, or without one in a directory of the root."""
    named = disk_named(stopped, recipe.io_disk.name) if recipe and recipe.io_disk else None
    for disk in [named] if named else stopped.values():
        with contextlib.suppress(RoostError, OSError, ValueError):
            for area in disk.areas():
                if area.type in READABLE:
                    yield disk, area.number, f"/{LOG}"
                    yield disk, area.number, f"{OWN_IO}/{LOG}"


def any_status(
    disks: Sequence[tuple[StoppedDisk, StoppedDisk]], started_at: float
) -> tuple[Mapping[str, Any] | None, tuple[str, ...]]:
    """Return the status.json of this run on any of the disks (before the run, after it), and the disks not read.

    The clock of an image that roost did not build may be hours off: a status that the disk did not hold before is of
    this run, too.
    """
    unread: list[str] = []
    for before, disk in disks:
        try:
            for area in disk.areas():
                if area.type == "swap" or (area.no_files and not area.type):
                    continue
                if area.type not in READABLE:
                    unread.append(disk.name)
                    continue
                for path in (f"/{STATUS}", f"{OWN_IO}/{STATUS}"):
                    content = disk.read(area.number, path).content or b""
                    status = parse_status(content)
                    if status and (began(status) >= started_at - CLOCK or content != _content(before, area, path)):
                        return status, ()
        except (RoostError, OSError, ValueError):
            unread.append(disk.name)
    return None, tuple(dict.fromkeys(unread))


def _content(disk: StoppedDisk, area: Area, path: str) -> bytes:
    with contextlib.suppress(RoostError, OSError, ValueError):
        return disk.read(area.number, path).content or b""
    return b""


def parse_status(content: bytes) -> Mapping[str, Any] | None:
    """Return status.json as a mapping; None for anything else."""
    try:
        status = jsontext.loads(content.decode("utf-8", "replace"))
    except ValueError:
        return None
    return status if isinstance(status, dict) else None


def began(status: Mapping[str, Any]) -> float:
    """Return when the job began, in seconds since the epoch; 0 when unknown."""
    try:
        return datetime.strptime(str(status.get("start")), "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    except ValueError:
        return 0.0
