"""Calls of programs in a pool, from its first process (`tests.pool.inside`)."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

from tests.pool import watch
from tests.pool.watch import Queue

ENVIRONMENT = {"PATH": "/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "HOME": "/root", "LC_ALL": "C.UTF-8"}
#: Makes a directory that is a mount point the root of a mount namespace of its own, then becomes the command.
ENTER = """cd "$1" && pivot_root . mnt && cd / && umount -l /mnt && shift && exec "$@\""""
#: Seconds for one call of a tool.
CALL = 60


class PoolError(Exception):
    """The pool itself does not work; the text is for whoever fixes the harness."""


class Pool:
    """The pool in `root`, whose users' jobs are directories below /home/USER/jobs."""

    def __init__(self, root: Path, user: str, uid: int) -> None:
        self.root, self.user, self.uid = root, user, uid
        self.start = time.monotonic()

    def argv(self, *argv: str) -> list[str]:
        """Return the command line that runs `argv` in the pool as root."""
        return ["unshare", "--mount", "--propagation=private", "--", "sh", "-c", ENTER, "enter", str(self.root), *argv]

    def call(self, *argv: str) -> str:
        """Run a command in the pool as root; return its standard output."""
        return self._call(self.argv(*argv))

    def ask(self, *argv: str) -> str:
        """Run one of HTCondor's tools, which may fail; return its standard output.

        By chroot(8): it starts nothing that stays, and a mount namespace for each call costs as much as the call.
        """
        return self._call(["chroot", str(self.root), *argv], check=False)

    def _call(self, argv: list[str], *, check: bool = True) -> str:
        done = subprocess.run(
            argv,
            env=ENVIRONMENT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
            timeout=CALL,
            check=False,
        )
        if check and done.returncode != 0:
            raise PoolError(f"{' '.join(argv)} failed (status {done.returncode}): {done.stdout}")
        return done.stdout

    def submit(self, directory: str, file: str) -> subprocess.CompletedProcess[str]:
        """Run condor_submit as the user, in the job's directory."""
        where = f"/home/{self.user}/jobs/{directory}"
        ids = [f"--reuid={self.uid}", f"--regid={self.uid}", "--clear-groups"]
        return subprocess.run(
            self.argv("setpriv", *ids, "env", "-C", where, "condor_submit", "-terse", file),
            env={**ENVIRONMENT, "HOME": f"/home/{self.user}", "USER": self.user, "LOGNAME": self.user},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=CALL,
            check=False,
        )

    def log(self, name: str) -> str:
        """Return one of HTCondor's logs, empty while it is not there."""
        try:
            return (self.root / "var/log/condor" / name).read_text("utf-8", "replace")
        except FileNotFoundError:
            return ""

    def logged(self) -> int:
        """Return how long the log of all jobs' events is: when something became of a job, it has grown."""
        try:
            return (self.root / "var/log/condor/EventLog").stat().st_size
        except FileNotFoundError:
            return 0

    def queue(self) -> Queue:
        """Return what the schedd knows of all jobs, those in the queue and those that left it."""
        attributes = ",".join(watch.ATTRIBUTES)
        ads = self.ask("condor_q", "-all", "-json", "-attributes", attributes)
        past = self.ask("condor_history", "-json", "-attributes", attributes)
        return Queue.parse(ads, past, self.log("EventLog"))

    def has_vm(self) -> bool | None:
        """Return whether the execution point advertises HasVM."""
        answer = self.ask("condor_status", "-af", "HasVM").split()
        return answer[0] == "true" if answer else None
