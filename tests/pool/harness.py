"""A real HTCondor for some minutes: made, given jobs, asked what became of them, and gone without a trace.

Access point, execution point (libvirt and QEMU without KVM) and central manager are one machine made of name spaces
over a shared root file system (`tests.pool.rootfs`): own mounts, processes, network, host name and IPC. So pools do not
meet each other or the host, and all of a pool ends with its first process, however this one ends.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import ToolError
from roost.host import capacity, process
from tests.pool import rootfs
from tests.pool.job import Job, JobResult

PROJECT = Path(__file__).resolve().parents[2]
NAMESPACES = ("--mount", "--propagation", "private", "--pid", "--fork", "--kill-child", "--net", "--uts", "--ipc")
#: Seconds beyond the jobs' deadline for mounts, daemons and copies of logs.
AROUND = 150


@dataclass(frozen=True, slots=True)
class PoolResult:
    """What a pool left: seconds until it was `up`, the jobs in the order they were given, and where its logs are."""

    up: float
    seconds: float
    jobs: tuple[JobResult, ...]
    logs: Path

    def all(self, name: str) -> list[JobResult]:
        """Return the results of all processes of the job `name`."""
        return [job for job in self.jobs if job.name == name]

    def one(self, name: str) -> JobResult:
        """Return the result of the job `name`, which is a single process."""
        (job,) = self.all(name)
        return job

    def log(self, name: str) -> str:
        """Return one of HTCondor's logs as text, such as VMGahpLog; empty when it was never written."""
        path = self.logs / "condor" / name
        return path.read_text("utf-8", "replace") if path.is_file() else ""

    def gahp_errors(self) -> list[str]:
        """Return the lines of VMGahpLog that say what libvirt or the gahp did not like."""
        words = ("Failed to", "rror", "cannot be", "incorrect", "xen disk")
        return [line for line in self.log("VMGahpLog").splitlines() if any(word in line for word in words)]


@contextlib.contextmanager
def overlay() -> Iterator[Path]:
    """Yield a directory for one pool, on the file system of its root; it, and what killed pools left, is removed."""
    runs = rootfs.directory() / "runs"
    runs.mkdir(parents=True, exist_ok=True)
    for stale in runs.iterdir():
        with contextlib.suppress(OSError), (stale / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(stale, ignore_errors=True)
    making = Path(tempfile.mkdtemp(dir=runs.parent, prefix=".run-"))
    try:
        with (making / "lock").open("ab") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            run = making.rename(runs / making.name.lstrip("."))
            try:
                yield run
            finally:
                shutil.rmtree(run, ignore_errors=True)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def places() -> Path:
    """Return the directory of the places where guests of all pools boot (`files/…/domain-xml`): one for each core.

    A guest that shares a core with others takes up to three times the processor time, in which it counts time that it
    did not have; and HTCondor asks for the end of each only every half minute.
    """
    directory = rootfs.directory() / "places"
    directory.mkdir(parents=True, exist_ok=True)
    for number in range(capacity.cores()):
        (directory / f"{number}").touch()
    return directory


def capabilities() -> Path:
    """Return the directory where the libvirt of all pools keeps what its QEMU can do: asking takes seconds."""
    directory = rootfs.directory() / f"{rootfs.key()}.capabilities"
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def run(
    jobs: Sequence[Job],
    results: Path,
    *,
    deadline: float = 300,
    late: bool = False,
    cancelled: threading.Event | None = None,
) -> PoolResult:
    """Make a pool, submit each job from a copy of its directory, and wait until all are settled.

    `deadline` is in seconds after the pool's start: what is not settled then has the outcome `timeout`. Copies, what
    came back, and logs are below `results`, an empty directory or none yet. The guests of a `late` pool let those of
    others boot first. `cancelled` ends it early. Raises `HostError` without root, `ToolError` when the pool does not
    come up.
    """
    lower = rootfs.make()
    start = time.monotonic()
    results.mkdir(parents=True, exist_ok=True)
    log = results / "pool.log"
    with overlay() as scratch:
        for job in jobs:
            _copy(job.submit.parent, results / "jobs" / job.name)
        spec = {
            "scratch": str(scratch),
            "results": str(results.absolute()),
            "rootfs": str(lower),
            "shared": {str(places()): "/run/places", str(capabilities()): "/var/cache/libvirt/qemu/capabilities"},
            "project": str(PROJECT),
            "libraries": f"/{rootfs.LIBRARIES}",
            "user": rootfs.USER,
            "uid": rootfs.UID,
            "deadline": deadline,
            "late": late,
            "jobs": [
                {
                    "name": job.name,
                    "file": job.submit.name,
                    "at": str(job.submit.parent.absolute()) if job.shared else "",
                    "session": job.session,
                }
                for job in jobs
            ],
        }
        (scratch / "spec.json").write_text(json.dumps(spec))
        argv = ["unshare", *NAMESPACES, "--", sys.executable, "-m", "tests.pool.inside", str(scratch / "spec.json")]
        with process.spawn(argv, log=log, cwd=PROJECT) as pool:
            _wait(pool, start + deadline + AROUND, cancelled or threading.Event())
    answer = results / "result.json"
    told: dict[str, Any] = json.loads(answer.read_text()) if answer.is_file() else {"error": "no result"}
    if "error" in told:
        raise ToolError(
            f"the pool does not work: {told['error']}",
            argv=argv,
            returncode=pool.returncode,
            log=log,
            tail=process.tail(log.read_bytes()),
        )
    done = tuple(JobResult.from_json(fields) for fields in told["jobs"])
    return PoolResult(told["up"], round(time.monotonic() - start, 1), done, results / "logs")


def _wait(pool: subprocess.Popen[bytes], end: float, cancelled: threading.Event) -> None:
    while pool.poll() is None:
        if time.monotonic() > end:
            raise ToolError("the pool did not end in time", argv=["unshare"], returncode=None)
        if cancelled.wait(0.5):
            raise ToolError("cancelled", argv=["unshare"], returncode=None)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(exist_ok=True)
    process.run(["cp", "-a", "--sparse=always", "--reflink=auto", source, target], deadline=300)
    process.run(["chown", "-R", "-h", f"{rootfs.UID}:{rootfs.UID}", target], deadline=60)
    target.chmod(0o755)
