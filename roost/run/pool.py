"""The pool executor: one HTCondor cluster per image, followed in its event log until all jobs are settled.

The jobs belong to the schedd: watching them can be stopped and resumed, and what is in the queue stays there.
A held job stays, too: when only held jobs are left, the run ends and reports why.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from roost.condor import access_point
from roost.condor.event_log import Follower
from roost.errors import RoostError
from roost.host import causes
from roost.run import description, submission, written
from roost.run.description import ANYHOW, How, Wanted
from roost.run.model import End, Image, Job, Run, Told, Verdict
from roost.run.submission import Submission
from roost.run.watch import BACK, Gone, Seen, Watch
from roost.store.manifest import Manifest

#: Intervals in seconds: between reads of the event log, between queries to the schedd, between progress lines.
LOOK, ASK, SAY = 2.0, 60.0, 15.0
#: How long a held job may wait for its own periodic_release: the schedd evaluates it every minute.
RELEASE = timedelta(seconds=180)
#: Queries without a job before it counts as gone: if the history has it, and if the schedd does not know it.
SURE, LOST = 2, 3
#: The maximum number of jobs reported for going back to the queue.
REPORTED = 20
#: The maximum number of characters kept of a job's part of the event log, for the report.
KEPT = 1 << 16


@dataclass
class _Cluster:
    """A cluster being watched."""

    submission: Submission
    watch: Watch
    follower: Follower
    releases: bool
    starts: Counter[str] = field(default_factory=Counter)
    unknown: Counter[str] = field(default_factory=Counter)
    texts: dict[str, str] = field(default_factory=dict)
    #: An earlier call has read and reported this part of the log.
    again: bool = False


@dataclass
class Pool:
    """Runs jobs in the pool of this access point; `built` has the record of each image, by the caller's name."""

    built: Mapping[str, Manifest]
    how: How = ANYHOW
    name: str = "pool"

    def __post_init__(self) -> None:
        self._clusters: list[int] = []

    def describe(self) -> Mapping[str, object]:
        """Return the clusters, as shown in the report."""
        return {"executor": self.name, "clusters": self._clusters}

    def run(self, run: Run, jobs: Sequence[Job], told: Told) -> None:
        """Submit the jobs that were never submitted, and watch until each job has left the queue or is held.

        Raises `HostError` when no schedd answers, `ToolError` when condor_submit refuses.
        """
        watched = _Watched(run, {job.name: job for job in jobs}, told)
        earlier = submission.recall(run.state)
        for one in earlier:
            image = run.images.get(one.image)
            if image is None or any(row >= len(image.jobs) for row in one.rows):
                raise written.damaged(run.state, f"it lists jobs of {one.image} that this run does not have")
        tokens = {one.token for one in earlier}
        for one in self._submitted(run, jobs, earlier):
            watched.add(one, again=one.token in tokens)
        self._clusters = [one.submission.cluster or 0 for one in watched.clusters]
        try:
            watched.follow()
        except KeyboardInterrupt:
            run.events.note(watched.left_behind())
            raise

    def _submitted(self, run: Run, jobs: Sequence[Job], earlier: Sequence[Submission]) -> list[Submission]:
        """Return the submissions of these jobs, creating those that the earlier ones do not cover."""
        known = []
        for one in earlier:
            settled = one if one.cluster is not None else submission.settle(one, run.place, run.state)
            if settled is not None:
                known.append(settled)
        covered = submission.covered(known)
        texts = []
        for name, image in run.images.items():
            wanted = {job.name for job in jobs if job.image == name}
            taken = covered.get(name, frozenset())
            rows = [at for at, job in enumerate(image.jobs) if job.name in wanted and at not in taken]
            if rows:
                one = submission.intended(name, rows)
                texts.append((one, self._text(one, image, run)))
        # Describe all before submitting the first, so that a recipe's errors are reported before anything is queued.
        for one, text in texts:
            done = submission.submit(one, text, run.place, run.state)
            run.events.note(f"{len(one.rows)} jobs of {one.image} are cluster {done.cluster}")
            known.append(done)
        return known

    def _text(self, one: Submission, image: Image, run: Run) -> str:
        log = str(one.log(run.place).relative_to(run.place.directory))
        files = self.built[one.image].files
        wanted = Wanted(image, files, one.rows, one.token, log, self.how)
        return description.cluster(description.describe(wanted, run.place))


class _Watched:
    """The clusters of a run, and what remains to be reported about them."""

    def __init__(self, run: Run, jobs: Mapping[str, Job], told: Told) -> None:
        self.run, self.jobs, self.told = run, jobs, told
        self.clusters: list[_Cluster] = []
        self._said: tuple[float, str] = (0.0, "")
        self._asked = time.monotonic()
        self._silent = False
        self._back: set[str] = set()

    def add(self, one: Submission, *, again: bool) -> None:
        """Watch a cluster from its first event on; `again` if an earlier call did so, too."""
        assert one.cluster is not None
        names = [self.run.images[one.image].jobs[row].name for row in one.rows]
        try:
            text = one.description(self.run.place).read_text()
        except OSError:
            text = ""
        releases = "periodic_release" in text
        watch = Watch(one.cluster, names)
        for number, row in enumerate(one.rows):
            if row in one.given_up:
                watch.forget(number)
        self.clusters.append(_Cluster(one, watch, Follower(one.log(self.run.place)), releases, again=again))

    def follow(self) -> None:
        """Return when no job is left to wait for; those that are held are reported as such."""
        while True:
            for one in self.clusters:
                self._read(one)
            self._say()
            held = [(one, seen) for one in self.clusters for seen in self._open(one)]
            if all(self._is_stuck(one, seen) for one, seen in held):
                for one, seen in held:
                    self._tell_held(one, seen)
                return
            if time.monotonic() - self._asked > ASK:
                self._ask()
            time.sleep(LOOK)

    def _open(self, one: _Cluster) -> list[Seen]:
        """Return the jobs of a cluster that are in the queue and belong to this call."""
        return [seen for seen in one.watch.waiting() if seen.job in self.jobs]

    def _is_stuck(self, one: _Cluster, seen: Seen) -> bool:
        if seen.status != "held":
            return False
        since = seen.since or datetime.now()
        return not one.releases or datetime.now() - since > RELEASE

    def _read(self, one: _Cluster) -> None:
        """Process new events in an event log."""
        try:
            for event in one.follower.events():
                one.texts[event.job] = (one.texts.get(event.job, "") + f"{event.text}...\n")[-KEPT:]
                gone = one.watch.take(event)
                seen = one.watch.jobs.get(event.job)
                if seen is not None and seen.job in self.jobs:
                    self._tell_starts(one, seen)
                    if event.number in BACK and seen.said and not one.again:
                        self._tell_back(seen)
                if gone is not None:
                    self._tell(one, gone)
        except OSError as error:
            raise causes.unreadable(one.follower.path, error) from error
        one.again = False

    def _tell_starts(self, one: _Cluster, seen: Seen) -> None:
        """Report a start that an earlier call has not reported."""
        if seen.starts > one.starts[seen.job]:
            one.starts[seen.job] = seen.starts
            if seen.starts > self.run.state.starts(seen.job):
                self.told.started(self.jobs[seen.job])

    def _tell_back(self, seen: Seen) -> None:
        """Report once per job that a machine did not take it: where no machine does, that repeats forever."""
        if seen.job not in self._back and len(self._back) < REPORTED:
            self._back.add(seen.job)
            self.run.events.note(f"{seen.job} is back in the queue: {seen.said}")

    def _tell(self, one: _Cluster, gone: Gone) -> None:
        if gone.job not in self.jobs:
            return
        self._write_log(one, gone.id, gone.job)
        if gone.hold:
            row = one.submission.rows[int(gone.id.partition(".")[2])]
            self.run.state.write(submission.GIVEN_UP, token=one.submission.token, row=row)
        self.told.ended(end_of(gone, self.run.came_back(self.jobs[gone.job], gone.id)))

    def _tell_held(self, one: _Cluster, seen: Seen) -> None:
        self._write_log(one, seen.id, seen.job)
        reason = f"{seen.said}; it is still in the queue: condor_release {seen.id} once it is fixed, then --resume"
        self.told.ended(End(seen.job, None, seen.seconds, "held", reason, more={"id": seen.id}))

    def _write_log(self, one: _Cluster, id_: str, job: str) -> None:
        """Write a job's part of the event log to its own file, for the report."""
        try:
            self.run.place.log(job).write_text(one.texts.get(id_, ""), "utf-8", "replace")
        except OSError as error:
            raise causes.unwritable(self.run.place.log(job), error) from error

    def _ask(self) -> None:
        """Compare with the schedd: an event log may be lost, and a job removed by force has no final event."""
        self._asked = time.monotonic()
        for one in self.clusters:
            if not self._open(one) or not one.submission.here:
                continue
            token, count = one.submission.token, len(one.submission.rows)
            try:
                present = access_point.queued(token)
                known = {ad.id for ad in present}
                missing = [seen for seen in self._open(one) if seen.id not in known]
                past = access_point.past(token, one.submission.begun, count) if missing else []
            except RoostError as error:
                if not self._silent:
                    self.run.events.note(f"{error.problem.what}: waiting for it; the jobs keep running")
                self._silent = True
                return
            self._silent = False
            # A job that left the queue after the log was read may have its final event by now.
            self._read(one)
            one.unknown.update(seen.id for seen in missing)
            listed = {ad.id for ad in past}
            doubted = {seen.id for seen in missing if one.unknown[seen.id] < (SURE if seen.id in listed else LOST)}
            for gone in one.watch.compare(present, past, doubted):
                self._tell(one, gone)

    def _say(self) -> None:
        """Report the progress of the jobs, if it has changed."""
        counts: Counter[str] = Counter()
        for one in self.clusters:
            counts += one.watch.counts()
        words = ", ".join(
            f"{counts[status]} {status}" for status in ("running", "idle", "held", "gone") if counts[status]
        )
        now = time.monotonic()
        if words != self._said[1] and now - self._said[0] >= SAY:
            self._said = (now, words)
            self.run.events.note(f"jobs: {words}")

    def left_behind(self) -> str:
        """Return the message for a user who stops watching."""
        left = [one for one in self.clusters if self._open(one)]
        rm = "; ".join(f"condor_rm {one.submission.cluster}" for one in left)
        if not left:
            return f"inv run --resume {self.run.place.directory} resumes it"
        return (
            f"the jobs stay in the queue: inv run --resume {self.run.place.directory} resumes the run, {rm} ends them"
        )


def end_of(gone: Gone, disk: Path | None) -> End:
    """Return how a job left the pool; the disk that came back decides the rest."""
    more = {"id": gone.id, "starts": gone.starts}
    if gone.how == "terminated":
        if disk is not None:
            return End(gone.job, disk, gone.seconds, more=more)
        reason = "HTCondor says that the machine ended, but no io disk came back"
        return End(gone.job, None, gone.seconds, "killed" if gone.starts else "never started", reason, more=more)
    if gone.hold:
        reason = f"{gone.hold}; it was removed while it was held: {gone.reason}"
        return End(gone.job, disk, gone.seconds, "held", reason, more=more)
    verdict: Verdict = "killed" if gone.starts else "never started"
    word = "removed" if gone.how == "removed" else "lost"
    return End(gone.job, disk, gone.seconds, verdict, f"{word}: {gone.reason}", more=more)
