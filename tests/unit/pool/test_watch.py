"""What the pool tests' harness makes of HTCondor's answers, on texts that HTCondor 23.9 wrote."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.pool import watch
from tests.pool.watch import Queue

SUBMITTED = "000 (012.003.000) 2026-11-23 16:27:26 Job submitted from host: <127.0.0.1:9618>\n...\n"
EXECUTING = (
    "001 (012.003.000) 2026-11-23 16:27:31 Job executing on host: <127.0.0.1:9618>\n\tSlotName: slot1_6@x\n...\n"
)
ERROR = "021 (012.003.000) 2026-11-23 16:27:35 Error from starter on slot1_6@x:\n\tVMGAHP_ERR_INTERNAL\n...\n"
EVICTED = "004 (012.003.000) 2026-11-23 16:27:35 Job was evicted.\n\t(0) CPU times\n...\n"
ID = "12.3"


def _queue(events: str = "", *, past: bool = False, **ad: Any) -> Queue:
    ads = json.dumps([{"ClusterId": 12, "ProcId": 3, **ad}]) if ad else ""
    return Queue.parse("" if past else ads, ads if past else "", events)


def test_events_are_sorted_by_job_and_kept_as_they_are() -> None:
    other = SUBMITTED.replace("012.003", "013.000")
    queue = _queue(SUBMITTED + other + EXECUTING)
    assert queue.events(ID) == SUBMITTED + EXECUTING
    assert queue.events("13.0") == other
    assert queue.events("14.0") == ""


def test_half_an_event_waits_for_its_end() -> None:
    assert _queue(SUBMITTED + EXECUTING[:20]).events(ID) == SUBMITTED


@pytest.mark.parametrize(
    ("terse", "jobs"), [("7.0 - 7.0\n", ["7.0"]), ("7.0 - 7.2\n8.0 - 8.0\n", ["7.0", "7.1", "7.2", "8.0"])]
)
def test_the_jobs_of_a_submission(terse: str, jobs: list[str]) -> None:
    assert watch.submitted(terse) == jobs


def test_a_running_or_unknown_job_is_open_until_it_is_late() -> None:
    for queue in (_queue(SUBMITTED + EXECUTING, JobStatus=2), _queue()):
        assert watch.settled(queue, ID, late=False) is None
        late = watch.settled(queue, ID, late=True)
        assert late is not None and late["outcome"] == "timeout"


def test_the_end_of_a_job_is_in_the_history() -> None:
    completed = watch.settled(_queue(past=True, JobStatus=4, ExitCode=0, RemoteWallClockTime=81.0), ID, late=False)
    assert completed == {"outcome": "completed", "status": "completed", "exit_code": 0, "wall": 81.0}
    removed = watch.settled(_queue(past=True, JobStatus=3, RemoveReason="by policy"), ID, late=False)
    assert removed is not None and (removed["outcome"], removed["reason"]) == ("removed", "by policy")


def test_an_error_that_sends_the_job_back_is_a_requeue() -> None:
    events = SUBMITTED + EXECUTING + ERROR + EVICTED
    for now in (_queue(events, JobStatus=1), _queue(events + EXECUTING, JobStatus=2)):
        found = watch.settled(now, ID, late=False)
        assert found is not None and (found["outcome"], found["reason"]) == ("requeued", "VMGAHP_ERR_INTERNAL")


def test_an_error_on_the_way_to_hold_is_none() -> None:
    events = SUBMITTED + EXECUTING + ERROR
    assert watch.settled(_queue(events, JobStatus=2), ID, late=False) is None
    held = watch.settled(
        _queue(events, JobStatus=5, HoldReasonCode=6, HoldReasonSubCode=10, HoldReason="Error from x"), ID, late=False
    )
    assert held == {"outcome": "held", "status": "held", "code": 6, "subcode": 10, "reason": "Error from x"}


def test_the_queue_is_asked_after_events_and_now_and_then() -> None:
    turn = watch.Turn()
    asked = [second for second in range(60) if turn.due(100.0 + second, 0 if second < 30 else 1)]
    # From the first question on, then for the seconds in which the queue follows the log; the event comes at 30.
    assert asked == [0, 1, 2, 3, 4, 5, 20, *range(30, 36), 50]
