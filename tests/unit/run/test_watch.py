"""What the events of a cluster and the schedd's ads make of its jobs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from roost.condor import event_log
from roost.condor.access_point import COMPLETED, HELD, REMOVED, RUNNING, Queued
from roost.run.pool import end_of
from roost.run.watch import Gone, Watch

HOLD = "Transfer input files failure: reading from file /home/u/extra: (errno 2) No such file or directory"


def event(number: str, job: str, second: int, *more: str) -> event_log.Event:
    lines = [
        f"{number} (012.{int(job):03d}.000) 2026-11-26 17:00:{second:02d} Something.",
        *(f"\t{one}" for one in more),
    ]
    found = event_log.parse("\n".join(lines) + "\n")
    assert found is not None
    return found


def take(watch: Watch, *events: event_log.Event) -> list[Gone]:
    return [gone for one in events if (gone := watch.take(one)) is not None]


def test_a_job_that_ends() -> None:
    watch = Watch(12, ["a", "b"])
    (gone,) = take(watch, event("000", "1", 0), event("001", "1", 5), event("006", "1", 9), event("005", "1", 45))
    assert gone == Gone("b", "12.1", "terminated", 40.0, 1)
    assert watch.counts() == {"idle": 1, "gone": 1}
    # Another cluster's events are none of these jobs', and nothing happens to a job that is gone.
    assert take(watch, event("005", "1", 46), event("005", "7", 46)) == []


def test_time_on_machines_is_added_up_and_starts_are_counted() -> None:
    watch = Watch(12, ["a"])
    start, evicted = event("001", "0", 0), event("004", "0", 10)
    back = event("021", "0", 21, "Error from slot1: VMGAHP_ERR_INTERNAL")
    (gone,) = take(watch, start, evicted, event("001", "0", 20), back, event("001", "0", 30), event("005", "0", 40))
    assert (gone.seconds, gone.starts) == (21.0, 3)


def test_a_hold_says_why_and_what_to_do() -> None:
    watch = Watch(12, ["a"])
    assert take(watch, event("012", "0", 1, HOLD, "Code 13 Subcode 2")) == []
    (seen,) = watch.waiting()
    assert seen.status == "held"
    assert "/home/u/extra" in seen.said and "How to fix: " in seen.said
    # A late eviction does not end a hold; a release does.
    take(watch, event("004", "0", 2))
    assert seen.status == "held"
    take(watch, event("013", "0", 3))
    assert [one.status for one in watch.waiting()] == ["idle"]


def test_a_job_removed_from_hold_was_held() -> None:
    watch = Watch(12, ["a"])
    (gone,) = take(watch, event("012", "0", 1, HOLD, "Code 13 Subcode 2"), event("009", "0", 9, "via condor_rm"))
    assert gone.how == "removed" and "/home/u/extra" in gone.hold
    end = end_of(gone, None)
    assert end.verdict == "held" and "via condor_rm" in end.reason


def test_a_removed_job_says_by_what_and_what_went_wrong_before() -> None:
    watch = Watch(12, ["a"])
    back = event("021", "0", 2, "Error from slot1: VMGAHP_ERR_INTERNAL")
    (gone,) = take(watch, event("001", "0", 1), back, event("009", "0", 9, "PeriodicRemove evaluated to TRUE"))
    assert "PeriodicRemove" in gone.reason and "VMGAHP_ERR_INTERNAL" in gone.reason
    assert end_of(gone, None).verdict == "killed"


@pytest.mark.parametrize(
    ("gone", "verdict"),
    [
        (Gone("a", "12.0", "terminated", 1, 1), "killed"),
        (Gone("a", "12.0", "terminated", 0, 0), "never started"),
        (Gone("a", "12.0", "removed", 0, 0, "by hand"), "never started"),
        (Gone("a", "12.0", "lost", 3, 1, "nobody knows"), "killed"),
    ],
)
def test_without_a_disk_nothing_is_done(gone: Gone, verdict: str) -> None:
    assert end_of(gone, None).verdict == verdict
    assert end_of(gone, None).reason


def ads(*given: tuple[int, int]) -> Sequence[Queued]:
    more = {"HoldReason": HOLD, "HoldReasonCode": 13, "RemoveReason": "by hand", "NumJobStarts": 2}
    return [Queued(f"12.{number}", "", status, more) for number, status in given]


def test_the_schedd_is_believed_where_the_log_is_silent() -> None:
    watch = Watch(12, ["a", "b", "c", "d", "e"])
    present, past = ads((0, RUNNING), (1, HELD)), ads((2, COMPLETED), (3, REMOVED))
    found = {gone.job: gone for gone in watch.compare(present, past, {"12.4"})}
    assert {job: gone.how for job, gone in found.items()} == {"c": "terminated", "d": "removed"}
    assert found["d"].reason == "by hand" and found["d"].starts == 2
    assert [(seen.job, seen.status) for seen in watch.waiting()] == [("a", "idle"), ("b", "held"), ("e", "idle")]
    assert "/home/u/extra" in watch.jobs["12.1"].said
    (lost,) = watch.compare(present, past, ())
    assert (lost.job, lost.how) == ("e", "lost")
    assert watch.compare(present, past, ()) == []
