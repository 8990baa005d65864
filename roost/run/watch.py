"""The state of a cluster's jobs according to its events: running, held and why, or gone from the queue. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from roost.condor import access_point, passages
from roost.condor.access_point import Queued
from roost.condor.event_log import RELEASED, Event
from roost.condor.explain import explain

Status = Literal["idle", "running", "held", "gone"]
#: How a job left the queue: its guest ended; it was removed; or the reason is not known.
How = Literal["terminated", "removed", "lost"]

#: Events after which a job waits for another machine; all but an eviction report an error.
BACK = frozenset({passages.EVICTED, passages.SHADOW_EXCEPTION, passages.REMOTE_ERROR, passages.RECONNECT_FAILED})


@dataclass(frozen=True, slots=True)
class Gone:
    """A job that left the queue: CLUSTER.PROC, seconds on machines, number of starts, and the reason.

    `hold` is why it was held when it left, empty when it was not.
    """

    job: str
    id: str
    how: How
    seconds: float
    starts: int
    reason: str = ""
    hold: str = ""


@dataclass(slots=True)
class Seen:
    """The current state of a job. `since` is when the status began, `said` why it is held or went back to the queue."""

    job: str
    id: str
    status: Status = "idle"
    starts: int = 0
    seconds: float = 0.0
    since: datetime | None = None
    said: str = ""


class Watch:
    """The jobs of one cluster, by CLUSTER.PROC; `names` are their names in the order of their numbers."""

    def __init__(self, cluster: int, names: Sequence[str]) -> None:
        self.jobs = {f"{cluster}.{number}": Seen(name, f"{cluster}.{number}") for number, name in enumerate(names)}

    def forget(self, number: int) -> None:
        """Stop watching a job whose outcome is already known."""
        list(self.jobs.values())[number].status = "gone"

    def take(self, event: Event) -> Gone | None:
        """Process one event; return the job that it took out of the queue, if any."""
        seen = self.jobs.get(event.job)
        if seen is None or seen.status == "gone":
            return None
        if event.number == passages.EXECUTING:
            self._change(seen, "running", event)
            seen.starts += 1
        elif event.number == passages.HELD:
            self._change(seen, "held", event)
            seen.said = told(event)
        elif event.number == RELEASED or event.number in BACK:
            if seen.status != "held" or event.number == RELEASED:
                self._change(seen, "idle", event)
            if event.number in BACK and event.number != passages.EVICTED:
                seen.said = told(event)
        elif event.number == passages.TERMINATED:
            return self._gone(seen, "terminated", event)
        elif event.number == passages.ABORTED:
            return self._gone(seen, "removed", event)
        return None

    def _change(self, seen: Seen, status: Status, event: Event) -> None:
        if seen.status == "running" and seen.since is not None and event.when is not None:
            seen.seconds += max(0.0, (event.when - seen.since).total_seconds())
        seen.status, seen.since = status, event.when

    def _gone(self, seen: Seen, how: How, event: Event) -> Gone:
        hold = seen.said if seen.status == "held" else ""
        back = seen.said if seen.status != "held" and how == "removed" else ""
        self._change(seen, "gone", event)
        reason = "; ".join(part for part in (event.reason, back) if part) if how == "removed" else ""
        return Gone(seen.job, seen.id, how, seen.seconds, seen.starts, reason, hold)

    def compare(self, present: Sequence[Queued], past: Sequence[Queued], doubted: Collection[str]) -> list[Gone]:
        """Return the jobs that have left the queue without an event in the log.

        `present` are those in the queue, `past` those in the schedd's history; those in `doubted` are skipped.
        """
        present_by_id, past_by_id = {ad.id: ad for ad in present}, {ad.id: ad for ad in past}
        found = []
        for id_, seen in self.jobs.items():
            if seen.status == "gone" or id_ in doubted:
                continue
            if id_ in present_by_id:
                self._correct(seen, present_by_id[id_])
                continue
            ad = past_by_id.get(id_)
            how: How = "lost" if ad is None else "terminated" if ad.status == access_point.COMPLETED else "removed"
            words = str(ad.ad.get("RemoveReason") or "") if ad else "the schedd no longer knows it"
            hold = seen.said if seen.status == "held" else ""
            starts = seen.starts or (_number(ad.ad, "NumJobStarts") if ad else 0)
            seconds = seen.seconds or (float(_number(ad.ad, "RemoteWallClockTime")) if ad else 0.0)
            seen.status = "gone"
            found.append(Gone(seen.job, seen.id, how, seconds, starts, words, hold))
        return found

    @staticmethod
    def _correct(seen: Seen, ad: Queued) -> None:
        """Update a job's hold state from the queue, for an event that was not read."""
        if ad.status == access_point.HELD and seen.status != "held":
            seen.status, seen.since = "held", datetime.fromtimestamp(_number(ad.ad, "EnteredCurrentStatus"))
            reason = str(ad.ad.get("HoldReason") or "")
            numbers = f"\tCode {_number(ad.ad, 'HoldReasonCode')} Subcode {_number(ad.ad, 'HoldReasonSubCode')}\n"
            seen.said = told(Event(passages.HELD, seen.id, seen.since, f"Job was held.\n\t{reason}\n{numbers}"))
        elif ad.status in {access_point.IDLE, access_point.RUNNING} and seen.status == "held":
            seen.status, seen.since = "idle", None

    def counts(self) -> Counter[Status]:
        """Return the number of jobs by status."""
        return Counter(seen.status for seen in self.jobs.values())

    def waiting(self) -> list[Seen]:
        """Return the jobs that are in the queue."""
        return [seen for seen in self.jobs.values() if seen.status != "gone"]


def told(event: Event) -> str:
    """Return why HTCondor held a job or put it back: its message, and the explanation and fix if known."""
    known = explain(event.text if event.text[:1].isdigit() else f"{event.number} (001.000.000) {event.text}")
    words = event.reason
    if not known:
        return words
    return "; ".join(part for part in (words, known[0].cause, f"How to fix: {known[0].fix}") if part)


def _number(ad: Mapping[str, object], name: str) -> int:
    value = ad.get(name)
    return int(value) if isinstance(value, int | float) else 0
