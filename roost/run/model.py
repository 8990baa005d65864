"""The model of a run, and the interface to its executor: this machine, a pool, a DAG. Pure.

A run makes the io disks, an `Executor` runs the jobs, and the run extracts each disk that comes back. The
disk decides the verdict; an executor adds only what a disk cannot show (`End`), such as a hold.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol, get_args

from roost.condor.jobs_file import Jobs
from roost.events import Events
from roost.iodisk import make
from roost.recipe.loader import Loaded
from roost.recipe.model import Disk
from roost.run.place import Place
from roost.run.state import State

Verdict = Literal["done", "failed", "never started", "killed", "unreadable", "held"]
VERDICTS: tuple[Verdict, ...] = get_args(Verdict)

#: Verdicts of jobs that are tried again when a run is resumed: they did not run, or their disk did not come back.
OPEN: frozenset[Verdict] = frozenset({"held"})


@dataclass(frozen=True, slots=True)
class Job:
    """One job: its name (unique in the run, valid as a file name) and its image's recipe as the caller names it.

    `inputs` are names for its input/, relative to the directory of the file of jobs; `variables` are all columns of its
    row. `line` is its line in the file of jobs.
    """

    name: str
    image: str
    inputs: tuple[str, ...] = ()
    variables: Mapping[str, str] = field(default_factory=dict)
    line: int = 0


@dataclass(frozen=True, slots=True)
class End:
    """How a job left its executor.

    `disk` is the io disk that came back (None: it did not), `seconds` the time that the job's machine ran. `verdict` is
    None if the disk decides; otherwise it overrides the disk, as for a job that was held. `stopped`
    means that the machine did not power itself off: then the job is not done, whatever the disk says. `reason` is added
    to the disk's own.
    """

    job: str
    disk: Path | None
    seconds: float | None = None
    verdict: Verdict | None = None
    reason: str = ""
    stopped: bool = False
    #: Keys added to the job's JSON, such as its ID in the pool.
    more: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result of a job: an entry of `jobs` in `inv run --json`.

    `output` is the directory with status.json, job.log and output/ (None: nothing was extracted); `log` the file with
    the console or the event log of its machine; `notes` are further remarks on the disk; `attempts` is how often it was
    started.
    """

    name: str
    verdict: Verdict
    exit_code: int | None = None
    reason: str = ""
    output: Path | None = None
    seconds: float | None = None
    image: str = ""
    log: Path | None = None
    notes: tuple[str, ...] = ()
    attempts: int = 1
    more: Mapping[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return the entry."""
        return {
            "name": self.name,
            "verdict": self.verdict,
            "exit_code": self.exit_code,
            "reason": self.reason,
            "output": str(self.output) if self.output else None,
            "seconds": self.seconds,
            "image": self.image,
            "log": str(self.log) if self.log else None,
            "notes": list(self.notes),
            "attempts": self.attempts,
            **self.more,
        }


@dataclass(frozen=True, slots=True)
class Image:
    """An image of a run: its recipe, its jobs as a table, and the directory of its build.

    `table` is the file of jobs reduced to these jobs: its column of the io disk names the disks in the run's directory,
    which is `table.directory`, so that the code of `inv submit` can describe them. Row i is `jobs[i]`.
    """

    loaded: Loaded
    table: Jobs
    jobs: tuple[Job, ...]

    @property
    def disk(self) -> Disk:
        """The recipe's io disk."""
        return make.disk_of(self.loaded.recipe)


@dataclass(frozen=True, slots=True)
class Run:
    """A run as its executor sees it: its images by the caller's name, its directory, its record, its sink of events."""

    images: Mapping[str, Image]
    place: Place
    state: State
    events: Events

    def format(self, job: Job) -> str:
        """Return the format of a job's io disk, which is also the extension of its files."""
        return self.images[job.image].disk.format

    def disk(self, job: Job) -> Path:
        """Return a job's io disk, in its state before the job."""
        return self.place.disk(job.name, self.format(job))

    def came_back(self, job: Job, id_: str) -> Path | None:
        """Return the io disk that came back from a job of the pool, CLUSTER.PROC, or None if it did not."""
        if self.images[job.image].loaded.recipe.submit.transfer == "shared":
            # It was not transferred: the job wrote to the disk itself.
            disk = self.disk(job)
        else:
            disk = self.place.returned / f"{job.name}-{id_}.{self.format(job)}"
        return disk if disk.is_file() else None


class Told(Protocol):
    """Receives an executor's reports. Both methods may be called from any thread; they record before they return."""

    def started(self, job: Job) -> None:
        """Report that a job is about to run, or was handed over for execution."""

    def ended(self, end: End) -> None:
        """Report that a job ran, or never will; its disk is collected in the background."""


class Executor(Protocol):
    """Runs jobs whose io disks are made (`Place.disk`)."""

    #: The name in the report: `local` or `pool`; a run can only be resumed by the executor that began it.
    name: str

    def describe(self) -> Mapping[str, Any]:
        """Return keys added to `inv run --json`, such as the accelerator."""
        ...

    def run(self, run: Run, jobs: Sequence[Job], told: Told) -> None:
        """Run the jobs, which have no verdict yet; return when each has ended.

        A job may have been started before, by a call that was killed: `run.state.starts(name)` counts the starts, and
        `run.state.words(KIND)` returns what this executor recorded with `run.state.write(KIND, …)`.
        Raises `RoostError` when no job can run; an interruption is passed on.
        """
        ...
