"""Split a text about jobs into passages about one job each: an event, a ClassAd, a line of condor_q -hold.

A job event log, the output of condor_q -long, -hold and -better-analyze, and a ShadowLog name the job of each part;
other text is one passage about no particular job. Formats: HTCondor manual, Job Event Log; condor_q(1).
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

#: The events that explain the state of a job; the others (sizes, transfers, attributes) do not change it.
SUBMITTED, EXECUTING, EVICTED, TERMINATED, SHADOW_EXCEPTION = "000", "001", "004", "005", "007"
ABORTED, HELD, REMOTE_ERROR, DISCONNECTED, RECONNECT_FAILED = "009", "012", "021", "022", "024"
TELLING = frozenset(
    {EVICTED, TERMINATED, SHADOW_EXCEPTION, ABORTED, HELD, REMOTE_ERROR, DISCONNECTED, RECONNECT_FAILED}
)

_EVENT = re.compile(r"(\d{3}) \((\d{1,9})\.(\d{1,9})\.\d{1,9}\) ")
_HOLD_LINE = re.compile(r"\s*(\d{1,9})\.(\d{1,9})\s+\S+\s+\d{1,2}/\d{1,2}\s+\d{1,2}:\d{2}\s")
_JOB_LINE = re.compile(
    r"\s*(\d{1,9})\.(\d{1,9}):(?:\s|$)"
    r"|.{0,60}?\b(?:expression for job|Job) (\d{1,9})\.(\d{1,9}) (?:is$|reduces|defines|going into Hold)"
)
_HELD_WORDS = re.compile(
    r"\bHoldReason(?:Code)?\b|^[ \t]*JobStatus[ \t]*=[ \t]*5\b|\bHold reason:|\bRequest is held|\bJob was held"
    r"|\bput on hold\b|\bgoing into Hold state|\bJob is held",
    re.MULTILINE | re.IGNORECASE,
)
_AD_LINE = re.compile(r"\s*([A-Za-z_]\w*)\s*=\s", re.ASCII)
#: The attributes of a job's ClassAd that say what happened; its expressions only say what might.
_AD_TELLING = re.compile(
    r"\s*(?:HoldReason(?:Code|SubCode)?|JobStatus|RemoveReason|VacateReason(?:Code|SubCode)?|LastRejMatchReason)\s*=",
    re.IGNORECASE,
)
_AD_ID = re.compile(r"^[ \t]*(ClusterId|ProcId)[ \t]*=[ \t]*(\d{1,9})[ \t]*$", re.MULTILINE | re.IGNORECASE)
#: A block with this many assignments is a whole ClassAd, not an excerpt.
_WHOLE_AD = 12


@dataclass(frozen=True, slots=True)
class Passage:
    """A part of a text: the job (`CLUSTER.PROC`) it is about if it names one, the event's number, and its words."""

    text: str
    job: str | None = None
    event: str | None = None

    @property
    def held(self) -> bool:
        """Whether the passage says that the job is held."""
        return self.event == HELD or (self.event is None and _HELD_WORDS.search(self.text) is not None)


def job_id(cluster: str, proc: str) -> str:
    """Return a job's ID as condor_q writes it: without leading zeros."""
    return f"{int(cluster)}.{int(proc)}"


def split(text: str) -> list[Passage]:
    """Return the passages of a text in order, with nothing dropped."""
    return [passage for block in _blocks(text) for passage in _passages(block)]


def _blocks(text: str) -> list[str]:
    """Return the ClassAds of a text that is a list of them (separated by blank lines), else the text unchanged."""
    return re.split(r"\n[ \t]*\n", text) if len(_AD_ID.findall(text)) > 2 else [text]


def _passages(block: str) -> Iterator[Passage]:
    lines = block.split("\n")
    ids = {key.lower(): number for key, number in _AD_ID.findall(block)}
    job: str | None = None
    if ids or sum(_AD_LINE.match(line) is not None for line in lines) >= _WHOLE_AD:
        job = job_id(ids["clusterid"], ids.get("procid", "0")) if "clusterid" in ids else None
        kept = [line for line in lines if not _AD_LINE.match(line) or _AD_TELLING.match(line)]
        yield Passage("\n".join(kept), job)
        return
    current: list[str] = []
    event: str | None = None
    for line in lines:
        marked = _marker(line)
        if marked is not None and (marked[1] is not None or marked[0] != job or _HOLD_LINE.match(line)):
            if current:
                yield Passage("\n".join(current), job, event)
            current = []
            job, event = marked
        current.append(line)
    yield Passage("\n".join(current), job, event)


def _marker(line: str) -> tuple[str, str | None] | None:
    """Return the job that a line introduces, and the number if it is an event."""
    if found := _EVENT.match(line):
        return job_id(found[2], found[3]), found[1]
    if found := _HOLD_LINE.match(line):
        return job_id(found[1], found[2]), None
    if found := _JOB_LINE.match(line):
        return job_id(found[1] or found[3], found[2] or found[4]), None
    return None
