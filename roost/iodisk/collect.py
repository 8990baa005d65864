"""Collect a job's results from its disk: a verdict, and status, log and output in a directory on the host.

done          the job ended with exit code 0
failed        it ended with another exit code, by a signal, or by its timeout
never started there is no status: the guest did not reach the job, or the disk was never in a guest
killed        it started but did not report its end: the machine stopped, or the job was removed
unreadable    the disk, its file system, its status or a part of its output cannot be read

Only a sound file system proves that a file does not exist. From a repaired one everything readable is extracted,
but the verdict is never `done`, and `lost` names what is known to be missing.
"""

from __future__ import annotations

import errno
import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, RoostError, UsageError
from roost.host import causes, temporary
from roost.host.files import own_descriptor, walk
from roost.iodisk.extracted import NAMES, Limits, check_room
from roost.iodisk.look import FOUND, LOG, OUTPUT, STATUS, Found, look
from roost.iodisk.returned import FileSystemCopy, Returned, UnreadableError, file_systems
from roost.iodisk.status import Verdict, judge
from roost.recipe.words import listed, shown
from roost.store import staging

#: The maximum number of losses that are also listed as notes.
SHOWN = 12


@dataclass(frozen=True, slots=True)
class Collected:
    """One disk: its verdict and reason, the contents of the status, and the directory of extracted files (None: none).

    `lost` names what is, or was, on the disk but was not extracted; empty when everything was. Links and devices do not
    count; `left_out` lists them, too.
    """

    disk: str
    verdict: Verdict
    why: str
    status: Mapping[str, Any]
    directory: Path | None
    files: int = 0
    size: int = 0
    notes: tuple[str, ...] = ()
    lost: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the disk's entry of `inv collect --json`."""
        return {
            "disk": self.disk,
            "verdict": self.verdict,
            "why": self.why,
            **{key: self.status.get(key) for key in ("exit_code", "signal", "timed_out", "start", "end", "host")},
            "folder": str(self.directory) if self.directory else None,
            "files": self.files,
            "bytes": self.size,
            "notes": list(self.notes),
            "complete": self.directory is not None and not self.lost,
            "lost": list(self.lost),
            "left_out": list(self.left_out),
        }


def collect(disk: Path, directory: Path, *, files: int, size: int | None = None) -> Collected:
    """Extract a job's results from `disk` to `directory`, which appears atomically; the disk is not changed.

    At most `files` files and directories and `size` bytes are extracted, including the log; None means the disk's size.
    Raises `HostError` when the host is at fault, `UsageError` when `directory` has other contents; faults of the disk
    become verdicts.
    """
    check_target(directory)
    try:
        with temporary.directory("collect") as scratch:
            try:
                result, found = _collected(disk, directory, scratch, files, size)
            except RoostError as error:
                if error.exit_code == 3:
                    raise
                # A tool without disk space reports it, or cannot even report it.
                check_room(scratch, 4 << 20)
                what = error.problem.what
                why = what if isinstance(error, UnreadableError) else f"{disk.name}: {what}"
                return Collected(str(disk), "unreadable", shown(why, 500), {}, None)
            if result.directory is not None:
                _keep(scratch / "out", directory, found)
            return result
    except OSError as error:
        # A copy error names the source first, but the fault is in the directory, which the message already names.
        name = os.fsdecode(error.filename) if error.filename and not error.filename2 else ""
        aside = name and not Path(name).is_relative_to(staging.place(directory))
        where = f": {shown(name, 200)}" if aside else ""
        raise HostError(
            f"{disk.name} cannot be collected into {directory}: {error.strerror or error}{where}",
            hint=_fix(error),
        ) from error


def _fix(error: OSError) -> str:
    elsewhere = "name another directory; TMPDIR says where copies are made"
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return f"free some space, or {elsewhere}"
    cause = causes.behind(error)
    return f"{cause.hint}; or {elsewhere}" if cause and cause is not causes.DENIED else elsewhere


def check_target(directory: Path) -> None:
    """Raise `UsageError` when `directory` exists and is not a result of `collect`, which may be replaced."""
    if not os.path.lexists(directory):
        return
    hint = "remove it, or name another directory for the results"
    if directory.is_symlink() or not directory.is_dir():
        if not (directory.is_symlink() or directory.is_file()) or own_descriptor(directory) is not None:
            # A device or a FIFO may serve others.
            hint = "name another directory for the results"
        raise UsageError(f"{directory} exists and is not a directory", hint=hint)
    try:
        others = {entry.name for entry in directory.iterdir()} - {STATUS, LOG, OUTPUT, FOUND}
    except OSError as error:
        raise HostError(f"{directory} cannot be read: {error.strerror}") from error
    if others:
        raise UsageError(f"{directory} exists and is not a result of collect: it has {shown(min(others))}", hint=hint)


def _collected(disk: Path, directory: Path, scratch: Path, files: int, size: int | None) -> tuple[Collected, Found]:
    """Extract everything to `scratch`, and judge."""
    returned = file_systems(disk, scratch, "disk")
    found, copy = _look(returned, scratch, (files, size))
    seen = found.seen
    damage = [*returned.damage, *(one for other in returned.copies for one in other.damage)]
    verdict, why, status = _judge(found, returned)
    notes = [*seen.notes, *found.notes]
    if copy.clean is False:
        notes.append(f"the file system was not unmounted: {copy.seen}")
    if damage:
        check_room(scratch)
        notes.append("the file system is damaged and was repaired in a copy: files may be missing or incomplete")
    if seen.incomplete:
        notes.append(f"may be incomplete: {listed(seen.incomplete)}")
    lost = (*damage, *seen.damage, *seen.limited)
    if damage or seen.damage:
        first = (damage + seen.damage)[0]
        if verdict == "done":
            verdict, why = "unreadable", f"the job ended with exit code 0, but files may be lost: {first}"
        elif verdict == "never started":
            verdict, why = "unreadable", f"{why}, but it may be lost: {first}"
    named = [*damage, *seen.damage]
    notes += [f"lost: {one}" for one in named[:SHOWN]]
    if len(named) > SHOWN:
        notes.append(f"lost: {len(named) - SHOWN} more, in --json")
    result = Collected(
        str(disk), verdict, why, status, directory, seen.files, seen.size,
        notes=tuple(notes), lost=lost[:NAMES], left_out=tuple(seen.left_names),
    )  # fmt: skip
    return result, found


def _look(returned: Returned, scratch: Path, limits: tuple[int, int | None]) -> tuple[Found, FileSystemCopy]:
    """Return the contents of the first file system with job data; of the first of all when none has any."""
    damage: list[str] = []
    unreadable = 0
    for copy in returned.copies:
        files, size = limits
        try:
            found = look(copy, scratch / "out", Limits(files, copy.size if size is None else size))
        except UnreadableError as error:
            unreadable += 1
            damage.append(error.problem.what)
            continue
        if found.prepared:
            found.seen.damage += damage
            return found, copy
        damage += found.seen.damage
    if unreadable == len(returned.copies):
        causes = [*(one for copy in returned.copies for one in copy.damage), *damage]
        raise UnreadableError("; ".join(causes[:3]))
    empty = Found()
    empty.seen.damage += damage
    return empty, returned.copies[0]


def _judge(found: Found, returned: Returned) -> tuple[Verdict, str, dict[str, Any]]:
    if found.status is None:
        if not found.prepared and returned.unread:
            return "unreadable", f"no job data in what could be read; not read: {listed(returned.unread)}", {}
        why = "the disk has no status" if found.prepared else "the disk has no job data"
        return "never started", why, {}
    if not found.status and found.seen.damage:
        return "unreadable", next((one for one in found.seen.damage if STATUS in one), found.seen.damage[0]), {}
    return judge(found.status)


def _keep(out: Path, directory: Path, found: Found) -> None:
    """Move the collected files to the user's directory."""
    with staging.staged(directory) as target:
        if out.is_dir():
            for entry in sorted(out.iterdir()):
                _move(entry, target / entry.name)
        if found.status:
            (target / STATUS).write_bytes(found.status.rstrip(b" \0\n") + b"\n")


def _move(source: Path, target: Path) -> None:
    """Rename, or copy to another file system, plain files and directories only. Stops at the first failure."""
    try:
        source.rename(target)
    except OSError as error:
        if error.errno != errno.EXDEV:
            raise
    else:
        return
    if source.is_file():
        shutil.copy(source, target)
        return
    for parent, _, names in walk(source):
        place = target / Path(parent).relative_to(source)
        place.mkdir()
        for name in names:
            shutil.copy(Path(parent, name), place / name)
