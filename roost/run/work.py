"""The work of a run, independent of its executor: io disks, jobs, returned disks, and the record."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field

from roost.errors import ImageError, RoostError, UsageError
from roost.events import Stages
from roost.host import interruption, namespace
from roost.host.pool import Pool, each
from roost.iodisk import batch, inputs, make
from roost.recipe.quantities import format_size
from roost.recipe.words import listed, some
from roost.run import outcomes, written
from roost.run.model import OPEN, End, Executor, Job, Outcome, Run
from roost.run.plan import Plan

#: The executor whose jobs end with the run.
LOCAL = "local"
#: The maximum number of outcomes other than `done` reported individually.
REPORTED = 50


@dataclass(frozen=True, slots=True)
class Contents:
    """The contents of a run's io disks: the inputs of each row are relative to the directory of the file of jobs."""

    plan: Plan

    def of(self, number: int, size: int | None) -> tuple[batch.DiskRequest | None, str]:
        """Return the contents of a row's disk (its output is not set), or the reason why it cannot be made."""
        try:
            items, texts, wrong = batch.content(self.plan.table, number, self.plan.column, (), size)
        except inputs.TooMuchError:
            return None, f"the inputs need more than {format_size(size or 0)}, which is the size of the io disk"
        if wrong:
            return None, "; ".join(str(problem) for problem in wrong[:5])
        return batch.DiskRequest(self.plan.table.directory, items, texts), ""


@dataclass
class Work:
    """A run in progress: it hands the jobs to an executor named `by`, which reports back (`Told`)."""

    run: Run
    jobs: tuple[Job, ...]
    by: str
    contents: Contents
    stages: Stages
    outcomes: dict[str, Outcome] = field(default_factory=dict)
    _guard: threading.Lock = field(default_factory=threading.Lock)
    _reported: int = 0
    _pool: Pool | None = None
    _looks: list[Future[None]] = field(default_factory=list)
    #: Jobs of a local run whose machines are running.
    _running: dict[str, None] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._rows = {job.name: number for number, job in enumerate(self.jobs)}

    def job(self, name: str) -> Job:
        """Return a job by its name; raise `UsageError` where there is no such job."""
        if name not in self._rows:
            raise UsageError(f"there is no job {name!r} in {self.run.place.directory}")
        return self.jobs[self._rows[name]]

    def begin(self) -> list[Job]:
        """Load the record, and return the jobs that are left to run; report which were cut off."""
        state, place = self.run.state, self.run.place
        left = []
        for job in self.jobs:
            record = state.ended(job.name)
            if record is not None and record.get("verdict") not in OPEN:
                try:
                    self.outcomes[job.name] = outcomes.from_record(job, record, place)
                except ValueError as error:
                    raise written.damaged(state, f"it has no outcome of {job.name}: {error}") from error
            else:
                left.append(job)
        running = state.running()
        cut = [job.name for job in left if job.name in running]
        if self.outcomes:
            self.run.events.note(f"{len(self.outcomes)} of {len(self.jobs)} jobs have a verdict and are not run again")
        if cut and self.by == LOCAL:
            self.run.events.note(f"cut off when the run was stopped: {listed(cut)}")
        return left

    def prepare(self, left: Sequence[Job]) -> list[Job]:
        """Return the jobs that can run; those that lack an input are held, and reported before anything runs."""
        ready = []
        back = self.run.state.returned()
        for job in left:
            if job.name in back or self.run.disk(job).is_file():
                ready.append(job)
                continue
            request, why = self._contents_of(job)
            if request is None:
                self.hold(job, why)
            else:
                ready.append(job)
        return ready

    def hold(self, job: Job, why: str) -> None:
        """Give up a job for now."""
        self.record(outcomes.held(job, why))

    def make_disks(self, jobs: Sequence[Job]) -> list[Job]:
        """Make the missing io disks; return the jobs that have one."""
        missing = [job for job in jobs if not self.run.disk(job).is_file()]
        if not missing:
            return list(jobs)
        namespace.probe(namespace.owner())
        lost: set[str] = set()

        def one(job: Job) -> None:
            if not self._make(job):
                lost.add(job.name)

        with self.stages.stage("io disks", f"{len(missing)}"):
            each(one, missing, lambda done: self.run.events.progress("io disks", done, len(missing)))
        return [job for job in jobs if job.name not in lost]

    def _make(self, job: Job) -> bool:
        recipe = self.run.images[job.image].loaded.recipe
        request, why = self._contents_of(job)
        try:
            if request is not None:
                make.make(recipe, request.items, self.run.disk(job), texts=request.texts)
                return True
        except ImageError as error:
            # An input was changed or removed, or does not fit after all.
            why = str(error.problem)
        self.hold(job, why)
        return False

    def _contents_of(self, job: Job) -> tuple[batch.DiskRequest | None, str]:
        return self.contents.of(self._rows[job.name], self.run.images[job.image].disk.areas[0].size)

    def execute(self, executor: Executor, jobs: Sequence[Job]) -> None:
        """Let the executor run the jobs, and examine each disk that comes back."""
        state, place = self.run.state, self.run.place
        back = {}
        for name, record in state.returned().items():
            try:
                back[name] = outcomes.end_from_record(name, record, place)
            except ValueError as error:
                raise written.damaged(state, f"it does not record how {name} returned: {error}") from error
        with (
            Pool(max_workers=os.cpu_count() or 1, thread_name_prefix="roost-collect") as pool,
            self.stages.stage("jobs", f"{len(jobs)}, {executor.name}"),
        ):
            self._pool = pool
            for job in jobs:
                if job.name in back:
                    self._look(back[job.name])
            todo = [job for job in jobs if job.name not in back]
            try:
                if todo:
                    executor.run(self.run, todo, self)
                for look in list(self._looks):
                    look.result()
            except BaseException:
                self._cut_off()
                raise

    def _cut_off(self) -> None:
        """Record which jobs were running here, although the record would show it anyway."""
        if self.by != LOCAL:
            return
        with contextlib.suppress(RoostError):
            for name in sorted(self.run.state.running()):
                self.run.state.write("cut off", name)

    # Reports of the executor.

    def started(self, job: Job) -> None:
        """Record that a job is about to run. Raises the host's error if judging an earlier job failed with one."""
        with self._guard:
            ended = [one for one in self._looks if one.done()]
        for look in ended:
            look.result()
        with self._guard:
            self._looks = [one for one in self._looks if one not in ended]
        self.run.state.write("started", job.name)
        with self._guard:
            if self.by == LOCAL:
                self._running[job.name] = None
            self._tell()

    def ended(self, end: End) -> None:
        """Record that a job left the executor, and examine its disk while others still run."""
        self.run.state.write("returned", end.job, **outcomes.end_to_record(end, self.run.place))
        with self._guard:
            # Its disk is read next; another guest may start before that is done.
            self._running.pop(end.job, None)
        self._look(end)

    def _look(self, end: End) -> None:
        assert self._pool is not None
        look = self._pool.submit(self._judge, end)
        with self._guard:
            self._looks.append(look)

    def _judge(self, end: End) -> None:
        job = self.job(end.job)
        found = outcomes.outcome(job, end, self.run.place, self.run.state.starts(job.name))
        if interruption.interrupted():
            raise KeyboardInterrupt
        self.record(found)

    def record(self, found: Outcome) -> None:
        """Record the outcome of a job."""
        self.run.state.write("ended", found.name, **outcomes.to_record(found, self.run.place))
        with self._guard:
            self.outcomes[found.name] = found
            self._running.pop(found.name, None)
            self.run.events.progress("jobs", len(self.outcomes), len(self.jobs))
            self._tell()
            if found.verdict != "done":
                self._reported += 1
                if self._reported <= REPORTED:
                    self.run.events.note(f"{found.name}: {found.verdict}: {found.reason}")

    def _tell(self) -> None:
        """Report how many jobs have a verdict, and which are running. The caller holds the guard."""
        bad = sum(1 for one in self.outcomes.values() if one.verdict != "done")
        running = f"; running: {some(list(self._running), 3)}" if self._running else ""
        text = f"{len(self.outcomes)} of {len(self.jobs)} ended{f', {bad} not done' if bad else ''}"
        self.run.events.doing("jobs", text + running)
