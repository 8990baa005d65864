"""What a job left on its disk: a verdict, and status, log and output in a folder of the host.

done          the job ended with exit code 0
failed        it ended otherwise: another exit code, a signal, its time over
never started there is no status: the guest did not come to the job, or the disk never was in one
killed        it started, and nothing says that it ended: the machine went away, or the job was removed
unreadable    the disk, its file system or its status cannot be read
"""

from __future__ import annotations

import json
import re
import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from roost import staging
from roost.errors import RoostError
from roost.iodisk.extract import ExtFiles, Extracted, Limits, VfatFiles
from roost.iodisk.returned import FileSystemCopy, UnreadableError, file_systems
from roost.recipe.words import shown

Verdict = Literal["done", "failed", "never started", "killed", "unreadable"]

STATUS, LOG, OUTPUT, INPUT = "status.json", "job.log", "output", "input"
#: A status is 4 KiB, a log may be long.
STATUS_LIMIT, LOG_LIMIT = 64 << 10, 256 << 20
#: Where the job runner keeps these on a root file system, when the machine had no io disk (roost/guest/job).
ON_ROOT = ("var", "lib", "roost", "io")


@dataclass(frozen=True, slots=True)
class Collected:
    """One disk: its verdict and why, what the status said, and the folder with what came out (None: nothing)."""

    disk: str
    verdict: Verdict
    why: str
    status: Mapping[str, Any]
    folder: Path | None
    files: int = 0
    size: int = 0
    notes: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """Return the disk's entry of `inv collect --json`."""
        return {
            "disk": self.disk,
            "verdict": self.verdict,
            "why": self.why,
            **{key: self.status.get(key) for key in ("exit_code", "signal", "timed_out", "start", "end", "host")},
            "folder": str(self.folder) if self.folder else None,
            "files": self.files,
            "bytes": self.size,
            "notes": list(self.notes),
        }


@dataclass(frozen=True, slots=True)
class _Found:
    """The job's things on one file system."""

    status: bytes | None
    log: bytes
    output: Extracted
    prepared: bool


def collect(disk: Path, folder: Path, *, files: int, size: int | None = None) -> Collected:
    """Put what a job left on `disk` into `folder`, which appears whole or not at all; the disk stays as it is.

    At most `files` files and folders and `size` bytes come out; None is as much as the disk has. Raises `HostError`
    when the host is at fault; whatever is wrong with the disk is a verdict.
    """
    with tempfile.TemporaryDirectory(prefix="roost-collect-") as name:
        scratch = Path(name)
        try:
            found, copy = _look(disk, scratch, files, size)
        except UnreadableError as error:
            return Collected(str(disk), "unreadable", error.problem.what, {}, None)
        except RoostError as error:
            if error.exit_code == 3:
                raise
            return Collected(str(disk), "unreadable", f"{disk.name}: {error.problem.what}", {}, None)
        verdict, why, status = _judge(found, copy)
        notes = list(found.output.notes)
        if copy.clean is False:
            notes.append(f"the file system was not unmounted: {copy.seen}")
        _keep(scratch / "out", folder, found)
        return Collected(str(disk), verdict, why, status, folder, found.output.files, found.output.size, tuple(notes))


def _keep(out: Path, folder: Path, found: _Found) -> None:
    """Make the collected files the folder that the user sees."""
    with staging.staged(folder) as target:
        if out.is_dir():
            # Perhaps to another file system; there are plain files and folders only.
            shutil.move(out, target / OUTPUT)
        if found.status is not None:
            (target / STATUS).write_bytes(found.status.rstrip(b" \0\n") + b"\n")
        if found.log:
            (target / LOG).write_bytes(found.log)


def _look(disk: Path, scratch: Path, files: int, size: int | None) -> tuple[_Found, FileSystemCopy]:
    """Return what the first file system with a job's things has; the first of all when none has."""
    copies = file_systems(disk, scratch, "disk")
    for copy in copies:
        limits = Limits(files, copy.size if size is None else size)
        found = _look_ext(copy, scratch, limits) if copy.type == "ext" else _look_vfat(copy, scratch, limits)
        if found.status is not None or found.prepared:
            return found, copy
    return _Found(None, b"", Extracted(), False), copies[0]


def _look_ext(copy: FileSystemCopy, scratch: Path, limits: Limits) -> _Found:
    files, seen = ExtFiles(copy), Extracted()
    for place in ((), tuple(part.encode() for part in ON_ROOT)):
        status = files.entry(*place, STATUS.encode())
        prepared = files.entry(*place, INPUT.encode())
        if status is None and prepared is None:
            continue
        text = files.read(status, STATUS_LIMIT) if status and status.kind == "file" else None
        log = files.entry(*place, LOG.encode())
        kept = files.read(log, LOG_LIMIT) if log and log.kind == "file" else b""
        output = files.entry(*place, OUTPUT.encode())
        if output and output.kind == "folder":
            files.extract(output, scratch / "out", limits, seen)
        return _Found(text if status is None or text is not None else b"", kept, seen, True)
    return _Found(None, b"", seen, False)


def _look_vfat(copy: FileSystemCopy, scratch: Path, limits: Limits) -> _Found:
    files, seen = VfatFiles(copy), Extracted()
    status = files.read(STATUS, STATUS_LIMIT)
    log = files.read(LOG, LOG_LIMIT) or b""
    files.extract(OUTPUT, scratch / "out", limits, seen)
    return _Found(status, log, seen, True)


def _judge(found: _Found, copy: FileSystemCopy) -> tuple[Verdict, str, dict[str, Any]]:
    if found.status is None:
        why = "there is no status on it" if found.prepared else "nothing of a job is on it"
        return "never started", why, {}
    try:
        status = json.loads(found.status.rstrip(b" \0\n"))
        state = status["state"]
        if state == "running":
            since = shown(str(status.get("start", "?")))
            return "killed", f"it started at {since}, and nothing says that it ended", _plain(status)
        code, signal = status["exit_code"], status.get("signal")
        if state != "finished" or not isinstance(code, int):
            raise ValueError(state)
    except (ValueError, KeyError, TypeError, RecursionError):
        return "unreadable", "its status.json is none", {}
    failed = None
    if status.get("not_ready"):
        failed = shown(str(status["not_ready"]), 200)
    elif status.get("timed_out"):
        failed = "its time was over"
    elif signal is not None:
        failed = f"signal {shown(str(signal))}"
    elif code != 0:
        failed = f"exit code {code}"
    return ("failed", failed, _plain(status)) if failed else ("done", "exit code 0", _plain(status))


def _plain(status: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a status says, with texts that are safe to show; it was written by a stranger."""
    return {
        re.sub(r"\W", "_", str(key)): shown(value, 200) if isinstance(value, str) else value
        for key, value in status.items()
        if value is None or isinstance(value, str | bool | int | float)
    }
