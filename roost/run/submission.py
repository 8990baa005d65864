"""A cluster of a run's jobs: submitted once, and found again after the submitter was interrupted.

A token is recorded before condor_submit is called, and put into every job's ClassAd. A later call looks for it in
the event log, the queue and the history: only if all three lack it is the cluster submitted again.
"""

from __future__ import annotations

import os
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roost.condor import access_point
from roost.condor.event_log import Follower
from roost.errors import HostError, RoostError, UsageError
from roost.host import causes
from roost.run import place as places
from roost.run import written
from roost.run.place import Place
from roost.run.state import State

#: Events in the record: a submission is about to be made, was made, or turned out not to have been made.
INTENT, DONE, VOID = "submitting", "submitted", "not submitted"
#: The event of a job that was removed while it was held: it may be submitted again.
GIVEN_UP = "given up"
#: The directory of descriptions and event logs within that of the run.
DIRECTORY = "pool"
#: Seconds until a submission whose condor_submit was killed shows up in the queue, if it ever does.
SETTLE = 5.0


@dataclass(frozen=True, slots=True)
class Submission:
    """One call of condor_submit: its token, image, rows of `Image.jobs`, host, and cluster (None: not known yet).

    `begun` is the time of the intent, in seconds since 1970. Job number N of the cluster is row `rows[N]`. `given_up`
    are rows whose jobs were removed while they were held.
    """

    token: str
    image: str
    rows: tuple[int, ...]
    host: str
    begun: float
    cluster: int | None = None
    given_up: frozenset[int] = frozenset()

    @property
    def here(self) -> bool:
        """Whether it was submitted from this machine, whose schedd knows it."""
        return self.host == os.uname().nodename

    def log(self, place: Place) -> Path:
        """Return the cluster's event log."""
        return place.directory / DIRECTORY / f"{self.token}.log"

    def description(self, place: Place) -> Path:
        """Return the cluster's submit description."""
        return place.directory / DIRECTORY / f"{self.token}.sub"


def intended(image: str, rows: Sequence[int]) -> Submission:
    """Return a submission that has not been made yet."""
    return Submission(secrets.token_hex(16), image, tuple(rows), os.uname().nodename, time.time())


def recall(state: State) -> list[Submission]:
    """Return the submissions in the record, without those that were never made.

    Raises `ImageError` for an inconsistent record, on whose basis nothing may be submitted.
    """
    found: dict[str, Submission] = {}
    try:
        for record in state.words(INTENT):
            one = written.checked(written.Submitting, record)
            found[one.token] = Submission(one.token, one.image, tuple(one.rows), one.host, one.begun)
        for record in state.words(DONE):
            done = written.checked(written.Submitted, record)
            found[done.token] = replace(found[done.token], cluster=done.cluster)
        for record in state.words(GIVEN_UP):
            row = written.checked(written.GivenUp, record)
            found[row.token] = replace(found[row.token], given_up=found[row.token].given_up | {row.row})
        for record in state.words(VOID):
            found.pop(str(record.get("token")), None)
    except ValueError as error:
        raise written.damaged(state, str(error)) from error
    except KeyError as error:
        raise written.damaged(state, f"it does not record the submission {error}") from error
    return list(found.values())


def submit(wanted: Submission, text: str, place: Place, state: State) -> Submission:
    """Submit a description; return the submission with its cluster.

    Raises `ToolError` when condor_submit refuses, `HostError` when it is not known whether it did.
    """
    description = wanted.description(place)
    try:
        description.parent.mkdir(exist_ok=True)
    except OSError as error:
        raise HostError(f"{description.parent} cannot be made: {error.strerror}") from error
    places.write(description, text.encode())
    intend(wanted, state)
    try:
        cluster = access_point.submit(description, place.directory)
    except RoostError as refusal:
        # It may have failed after the jobs entered the queue.
        found = _find(wanted, place)
        if found is None:
            state.write(VOID, token=wanted.token)
            raise refusal
        cluster = found
    return _found(wanted, cluster, state)


def intend(wanted: Submission, state: State) -> None:
    """Record a submission that is about to be made; the record is synced to disk when this returns."""
    rows = list(wanted.rows)
    state.write(INTENT, token=wanted.token, image=wanted.image, rows=rows, host=wanted.host, begun=wanted.begun)


def settle(open_: Submission, place: Place, state: State) -> Submission | None:
    """Return a submission that an earlier call intended, with its cluster; None when it was never made.

    Raises `HostError` when that cannot be determined, `UsageError` when only another machine can determine it.
    """
    cluster = _find(open_, place)
    if cluster is not None:
        return _found(open_, cluster, state)
    state.write(VOID, token=open_.token)
    return None


def _found(one: Submission, cluster: int, state: State) -> Submission:
    state.write(DONE, token=one.token, cluster=cluster)
    return replace(one, cluster=cluster)


def _find(one: Submission, place: Place) -> int | None:
    """Return the cluster of a token, or None if the event log, the queue and the history all lack it."""
    for attempt in range(2):
        try:
            event = next(Follower(one.log(place)).events(), None)
        except OSError as error:
            raise causes.unreadable(one.log(place), error) from error
        if event is not None:
            return _cluster(event.job)
        if not one.here:
            what = f"only {one.host} knows whether its jobs were submitted, and this host is {os.uname().nodename}"
            raise UsageError(what, hint=f"inv run --resume {place.directory}, there")
        for job in [*access_point.queued(one.token), *access_point.past(one.token, one.begun, 1)]:
            return _cluster(job.id)
        if attempt == 0:
            time.sleep(SETTLE)
    return None


def _cluster(job: str) -> int:
    return int(job.partition(".")[0])


def covered(submissions: Sequence[Submission]) -> Mapping[str, frozenset[int]]:
    """Return, by image, the rows whose jobs were submitted and not given up."""
    found: dict[str, frozenset[int]] = {}
    for one in submissions:
        found[one.image] = found.get(one.image, frozenset()) | (frozenset(one.rows) - one.given_up)
    return found
