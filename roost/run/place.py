"""The directory of a run and its layout. Names of jobs are file names (`fit`).

DIR/run.json            the jobs and how they are run, for `--resume DIR`
DIR/state.jsonl         what has happened so far, a line each (`state`)
DIR/disks/NAME.raw      the io disk of a job, in its state before the job
DIR/returned/NAME.raw   the io disk that came back
DIR/results/NAME/       status.json, job.log, output/, as extracted by `inv collect`
DIR/logs/NAME.log       the console of the job's machine; in a pool, its event log
DIR/report.html report.json
"""

from __future__ import annotations

import fcntl
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roost.errors import HostError, UsageError
from roost.host import causes, files
from roost.store.staging import write_atomically

#: Names of jobs: they become file names, arguments in submit descriptions, nodes of a DAG.
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._+-]{0,199}")
LOCK = ".lock"


def fit(name: str) -> bool:
    """Return whether a text is a valid job name: letters, digits and . _ + -, at most 200, not starting with . or -."""
    return _NAME.fullmatch(name) is not None


def write(path: Path, data: bytes) -> None:
    """Write a file of a run atomically. Raises `HostError` where the host refuses."""
    try:
        write_atomically(path, data)
    except OSError as error:
        raise causes.unwritable(path, error) from error


@dataclass(frozen=True, slots=True)
class Place:
    """The directory of a run, absolute, and the paths in it."""

    directory: Path

    @property
    def plan(self) -> Path:
        """The plan of the run."""
        return self.directory / "run.json"

    @property
    def state(self) -> Path:
        """The record of events."""
        return self.directory / "state.jsonl"

    @property
    def disks(self) -> Path:
        """The directory of the io disks as made."""
        return self.directory / "disks"

    def disk(self, job: str, suffix: str) -> Path:
        """Return a job's io disk, in its state before the job; `suffix` is its format."""
        return self.disks / f"{job}.{suffix}"

    @property
    def returned(self) -> Path:
        """The directory of the io disks that came back."""
        return self.directory / "returned"

    @property
    def results(self) -> Path:
        """The directory of the jobs' results, one directory each."""
        return self.directory / "results"

    def result(self, job: str) -> Path:
        """Return the directory of a job's results."""
        return self.results / job

    @property
    def logs(self) -> Path:
        """The directory of the logs of the jobs' machines."""
        return self.directory / "logs"

    def log(self, job: str) -> Path:
        """Return the log of a job's machine: its console, or its event log."""
        return self.logs / f"{job}.log"

    @property
    def report(self) -> Path:
        """The HTML report."""
        return self.directory / "report.html"

    def make(self) -> None:
        """Create the directories. Raises `UsageError` where another file is in the way, `HostError` when that fails."""
        try:
            for one in (self.directory, self.disks, self.returned, self.results, self.logs):
                one.mkdir(parents=True, exist_ok=True)
        except FileExistsError as error:
            raise UsageError(f"{error.filename} is not a directory", hint="name another directory") from error
        except OSError as error:
            raise HostError(f"{error.filename or self.directory} cannot be made: {error.strerror}") from error

    @contextmanager
    def lock(self) -> Iterator[None]:
        """Lock the directory for one run; raise `UsageError` when another holds it. The kernel releases the lock."""
        path = self.directory / LOCK
        try:
            descriptor = os.open(
                files.lock_path(path), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666
            )
        except OSError as error:
            raise HostError(f"{path} cannot be locked: {error.strerror}") from error
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"another inv run is using {self.directory}", hint="wait for it, or name another directory"
                ) from None
            except OSError as error:
                raise HostError(f"{path} cannot be locked: {error.strerror}") from error
            yield
        finally:
            os.close(descriptor)
