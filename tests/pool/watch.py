"""What became of a job, read from what HTCondor's tools and its event log say. Pure: text in, verdict out."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tests.pool.job import STATUS

ATTRIBUTES = (
    "ClusterId",
    "ProcId",
    "JobStatus",
    "ExitCode",
    "ExitBySignal",
    "RemoteWallClockTime",
    "HoldReasonCode",
    "HoldReasonSubCode",
    "HoldReason",
    "RemoveReason",
)
#: The head of an event in a job event log: number, then cluster, process and subprocess in brackets.
EVENT = re.compile(r"^(\d{3}) \((\d+)\.(\d+)\.\d+\)")
EXECUTING, REMOTE_ERROR = "001", "021"
#: Seconds for which the queue is asked after an event of a job, and after which it is asked without one.
SETTLES, ANYWAY = 5, 15


@dataclass(frozen=True, slots=True)
class Queue:
    """One look at the queue: ads of jobs that are in it and that left it, by CLUSTER.PROCESS, and each one's events."""

    present: Mapping[str, Mapping[str, Any]]
    past: Mapping[str, Mapping[str, Any]]
    log: Mapping[str, Sequence[tuple[str, str]]]

    @classmethod
    def parse(cls, present: str, past: str, event_log: str) -> Queue:
        """Read the JSON of condor_q and condor_history (either may be empty) and the text of an event log."""
        return cls(_ads(present), _ads(past), _events(event_log))

    def events(self, id_: str) -> str:
        """Return a job's events as its own event log would have them."""
        return "".join(f"{text}...\n" for _number, text in self.log.get(id_, ()))


class Turn:
    """When it is the queue's turn to be asked: for each question the schedd forks, in every pool.

    Whatever becomes of a job is in the log of events. The queue may follow a moment later.
    """

    def __init__(self) -> None:
        self.length, self.grown, self.asked = -1, 0.0, 0.0

    def due(self, now: float, length: int) -> bool:
        """Return whether to ask, at `now` in seconds, when the log is so long."""
        if length != self.length:
            self.length, self.grown = length, now
        if now - self.grown > SETTLES and now - self.asked < ANYWAY:
            return False
        self.asked = now
        return True


def submitted(terse: str) -> list[str]:
    """Return the jobs that `condor_submit -terse` tells of, in lines like `12.0 - 12.9`."""
    jobs = []
    for first, start, last, end in re.findall(r"(\d+)\.(\d+)\s+-\s+(\d+)\.(\d+)", terse):
        if first != last:
            raise ValueError(f"a range over clusters: {terse}")
        jobs += [f"{first}.{process}" for process in range(int(start), int(end) + 1)]
    return jobs


def settled(queue: Queue, id_: str, *, late: bool) -> dict[str, Any] | None:
    """Return the fields of a `JobResult` that say what became of a job, or None while that is open and not `late`."""
    ad = queue.present.get(id_)
    if ad is not None:
        return _in_queue(ad, queue.log.get(id_, ()), late=late)
    gone = queue.past.get(id_)
    if gone is None:
        return {"outcome": "timeout", "status": "unknown"} if late else None
    status = STATUS.get(gone["JobStatus"], "unknown")
    if status == "completed":
        return {
            "outcome": "completed",
            "status": status,
            "exit_code": gone.get("ExitCode"),
            "wall": gone.get("RemoteWallClockTime"),
        }
    return {"outcome": "removed", "status": status, "reason": gone.get("RemoveReason", "")}


def _in_queue(ad: Mapping[str, Any], events: Sequence[tuple[str, str]], *, late: bool) -> dict[str, Any] | None:
    status = STATUS.get(ad["JobStatus"], "unknown")
    if status == "held":
        return {
            "outcome": "held",
            "status": status,
            "code": ad.get("HoldReasonCode"),
            "subcode": ad.get("HoldReasonSubCode"),
            "reason": ad.get("HoldReason", ""),
        }
    errors = [index for index, (number, _text) in enumerate(events) if number == REMOTE_ERROR]
    # A job that is about to be held has the event, too, but does not go back to idle or start again.
    if errors and (status == "idle" or any(number == EXECUTING for number, _text in events[errors[-1] :])):
        text = events[errors[-1]][1]
        return {"outcome": "requeued", "status": status, "reason": text.partition("\n")[2].strip()}
    return {"outcome": "timeout", "status": status} if late else None


def _ads(text: str) -> dict[str, Mapping[str, Any]]:
    # Without ads the tools print nothing at all, not an empty list.
    ads = json.loads(text) if text.strip() else []
    return {f"{ad['ClusterId']}.{ad['ProcId']}": ad for ad in ads}


def _events(text: str) -> dict[str, list[tuple[str, str]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    lines: list[str] = []
    for line in text.splitlines(keepends=True):
        if line.rstrip() != "...":
            lines.append(line)
            continue
        head = EVENT.match(lines[0]) if lines else None
        if head:
            found.setdefault(f"{int(head[2])}.{int(head[3])}", []).append((head[1], "".join(lines)))
        lines = []
    return found
