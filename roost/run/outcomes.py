"""The outcome of a job, from how it left its executor and from the contents of its disk."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from roost.iodisk.collect import Collected, collect
from roost.recipe.words import shown
from roost.run import written
from roost.run.model import End, Job, Outcome, Verdict
from roost.run.place import Place

#: The maximum number of files and directories extracted from one disk.
FILES = 100_000
#: The maximum length of a reason in characters.
REASON = 1000


def outcome(job: Job, end: End, place: Place, attempts: int) -> Outcome:
    """Extract the contents of a job's disk and judge the job. Raises `HostError` when the host is at fault."""
    collected = collect(end.disk, place.result(job.name), files=FILES) if end.disk is not None else None
    verdict, reason = judge(end, collected)
    code = collected.status.get("exit_code") if collected else None
    log = place.log(job.name)
    return Outcome(
        job.name,
        verdict,
        code if isinstance(code, int) and not isinstance(code, bool) else None,
        shown(reason, REASON),
        collected.directory if collected else None,
        None if end.seconds is None else round(end.seconds, 3),
        job.image,
        log if log.is_file() else None,
        collected.notes if collected else (),
        attempts,
        end.more,
    )


def judge(end: End, collected: Collected | None) -> tuple[Verdict, str]:
    """Return the verdict and the reason of a job, from its executor's report and its disk's contents. Pure."""
    if collected is None:
        return end.verdict or "never started", end.reason or "no disk came back"
    verdict: Verdict = collected.verdict
    if end.verdict is not None:
        return end.verdict, _joined(end.reason, collected.why if verdict != "never started" else "")
    if end.stopped and verdict == "done":
        return "killed", _joined(end.reason, f"the job itself had ended with {collected.why}")
    if not collected.lost and verdict in {"done", "failed"} and not end.stopped:
        return verdict, collected.why
    if verdict == "done" and collected.lost:
        return "unreadable", _joined(f"not all of its output was extracted: {collected.lost[0]}", end.reason)
    return verdict, _joined(collected.why, end.reason)


def _joined(*parts: str) -> str:
    return "; ".join(part for part in parts if part)


def held(job: Job, why: str) -> Outcome:
    """Return the outcome of a job that lacks an input it needs."""
    return Outcome(job.name, "held", None, shown(why, REASON), image=job.image, attempts=0)


def to_record(outcome: Outcome, place: Place) -> dict[str, Any]:
    """Return an outcome as recorded: paths are relative to the directory of the run."""
    record = outcome.to_json()
    for name, path in (("output", outcome.output), ("log", outcome.log)):
        record[name] = str(path.relative_to(place.directory)) if path else None
    return {**{key: value for key, value in record.items() if key != "name"}, "more": dict(outcome.more)}


def from_record(job: Job, record: Mapping[str, Any], place: Place) -> Outcome:
    """Return a recorded outcome; raise `ValueError` when the record is invalid."""
    found = written.checked(written.Ended, record)
    return Outcome(
        job.name,
        found.verdict,
        found.exit_code,
        found.reason,
        _path(found.output, place),
        found.seconds,
        job.image,
        _path(found.log, place),
        tuple(found.notes),
        found.attempts,
        found.more,
    )


def end_to_record(end: End, place: Place) -> dict[str, Any]:
    """Return the record of a job that left its executor."""
    inside = end.disk is not None and end.disk.is_relative_to(place.directory)
    disk = end.disk.relative_to(place.directory) if end.disk is not None and inside else end.disk
    return {
        "disk": None if disk is None else str(disk),
        "seconds": end.seconds,
        "verdict": end.verdict,
        "reason": shown(end.reason, REASON),
        "stopped": end.stopped,
        "more": dict(end.more),
    }


def end_from_record(job: str, record: Mapping[str, Any], place: Place) -> End:
    """Return how a job left its executor, from its record; raise `ValueError` when the record is invalid."""
    found = written.checked(written.Returned, record)
    disk = _path(found.disk, place)
    return End(job, disk, found.seconds, found.verdict, found.reason, found.stopped, found.more)


def _path(relative: str | None, place: Place) -> Path | None:
    return place.directory / relative if relative else None
