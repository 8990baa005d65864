"""Runs programs of a root tree one after the other, with limits on time, processes, memory, disk and output.

Runs inside `roost.host.confinement` as the first process of its process namespace: it sees every process that the
programs started, including those that try to hide, and can kill all of them. As a program, `python -m
roost.host.bounded TREE COMMAND...` runs one command of a tree this way, with the command's output on standard output.
"""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.host import confinement
from roost.host.confinement import Entered, Limits

#: The environment of a tree's programs.
ENVIRONMENT = {
    "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
    "HOME": "/root",
    "USER": "root",
    "LOGNAME": "root",
    "SHELL": "/bin/sh",
    "LANG": "C.UTF-8",
    "LC_ALL": "C.UTF-8",
    "DEBIAN_FRONTEND": "noninteractive",
    "SYSTEMD_OFFLINE": "1",
}
#: A policy that keeps packages installed by commands from starting services (policy-rc.d(8)).
POLICY, NO_SERVICES = "/usr/sbin/policy-rc.d", "#!/bin/sh\nexit 101\n"
#: The environment in which roost's own Python finds its modules.
SELF = {"PYTHONPATH": str(Path(__file__).parents[2])}
#: Bytes of output kept of all programs together; further output is read and discarded.
OUTPUT = 64 << 20
#: Seconds between two checks of what the programs use.
INTERVAL = 0.2


class ExceededError(Exception):
    """The programs exceeded a limit; all of them have been killed."""


@dataclass(slots=True)
class Runner:
    """Runs programs in the tree that this process has entered; their output goes to the descriptor `output`."""

    entered: Entered
    limits: Limits
    output: int = 2
    _left: int = OUTPUT
    _floor: int = 0

    def __post_init__(self) -> None:
        """Measure the free space: where it is short, half of it must stay free."""
        self._floor = min(self.limits.free, _room() // 2)

    def run(self, argv: Sequence[str], *, network: bool = False, extra: Mapping[str, str] | None = None) -> int:
        """Run a program to its end; return its exit status, or minus the signal that killed it.

        Its background processes keep running. Raises `ExceededError`, and `OSError` when it cannot be started.
        """
        reading, writing = os.pipe()
        os.set_blocking(reading, False)
        try:
            started = subprocess.Popen(
                list(argv),
                env={**ENVIRONMENT, **(extra or {})},
                stdin=subprocess.DEVNULL,
                stdout=writing,
                stderr=writing,
                cwd="/",
                start_new_session=True,
                # Safe: this process has no threads.
                preexec_fn=lambda: self._lock_down(network=network),  # noqa: PLW1509
            )
        except subprocess.SubprocessError as error:
            reason = os.read(reading, OUTPUT).decode(errors="replace")
            os.close(reading)
            raise OSError(f"cannot be confined: {reason}") from error
        except OSError:
            os.close(reading)
            raise
        finally:
            os.close(writing)
        try:
            return self._wait(started, reading)
        finally:
            self._relay(reading)
            os.close(reading)

    def _lock_down(self, *, network: bool) -> None:
        """Confine this process, a child; tell the reason on its output, since Popen tells none, if that fails."""
        try:
            confinement.lock_down(self.entered, self.limits, network=network)
        except OSError as error:
            place = f": {error.filename!r}" if error.filename else ""
            os.write(2, f"{error.strerror}{place}".encode())
            raise

    def _wait(self, program: subprocess.Popen[bytes], reading: int) -> int:
        ends = time.monotonic() + self.limits.seconds
        looked = 0.0
        while True:
            status = program.poll()
            now = time.monotonic()
            if now - looked >= INTERVAL or status is not None:
                looked = now
                _reap(program.pid)
                exceeded = self._exceeded()
                if exceeded is None and status is None and now > ends:
                    exceeded = f"it did not end within {self.limits.seconds:g} s (ROOST_RUN_TIME)"
                if exceeded is not None:
                    kill_all()
                    program.wait()
                    raise ExceededError(exceeded)
            if status is not None:
                return status
            select.select([reading], [], [], 0.05)
            if not self._relay(reading):
                # Nothing has the other end open any more, but the program still runs.
                time.sleep(0.02)

    def _relay(self, reading: int) -> bool:
        """Forward the output so far; return whether more may follow."""
        for _ in range(64):
            try:
                data = os.read(reading, 65536)
            except BlockingIOError:
                return True
            if not data:
                return False
            kept = data[: self._left]
            if kept:
                os.write(self.output, kept)
                self._left -= len(kept)
                if self._left == 0:
                    os.write(self.output, b"\nroost: what is printed from here on is not kept\n")
        return True

    def _exceeded(self) -> str | None:
        """Return which limit the programs exceeded, or None."""
        if _room() < self._floor:
            return f"less than {self._floor >> 20} MiB are left on the disk of the tree (ROOST_RUN_FREE)"
        return exceeded(self.limits)


def _room() -> int:
    seen = os.statvfs("/")
    return seen.f_bavail * seen.f_frsize


def _reap(but: int) -> None:
    """Collect children inherited by this first process, except the program being waited for."""
    while True:
        try:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
        except ChildProcessError:
            return
        if found is None or found.si_pid == but:
            return
        os.waitpid(found.si_pid, 0)


def exceeded(limits: Limits) -> str | None:
    """Return which limit the other processes of this process namespace exceeded, or None."""
    count, memory = used()
    # The kernel refuses processes above the limit: this close to it, some have been refused.
    if count >= limits.processes * 0.95:
        return f"more than {limits.processes} processes at once (ROOST_RUN_PROCESSES)"
    shared = os.statvfs("/dev/shm")
    memory += (shared.f_blocks - shared.f_bfree) * shared.f_frsize
    if memory > limits.memory:
        return f"more than {limits.memory >> 20} MiB of memory (ROOST_RUN_MEMORY)"
    return None


def used() -> tuple[int, int]:
    """Return the number of threads of other processes and the bytes of their private memory."""
    threads = pages = 0
    mine = str(os.getpid())
    for name in os.listdir("/proc"):  # noqa: PTH208 - thousands of names, five times a second
        if not name.isdigit() or name == mine:
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as file:  # noqa: PTH123
                fields = file.read().rpartition(b")")[2].split()
            with open(f"/proc/{name}/statm", "rb") as file:  # noqa: PTH123
                sizes = file.read().split()
        except OSError:
            continue
        # proc(5): field 20 of stat is num_threads; the second and third of statm are resident and shared pages.
        threads += int(fields[17])
        pages += max(0, int(sizes[1]) - int(sizes[2]))
    return threads, pages * os.sysconf("SC_PAGE_SIZE")


def kill_all() -> None:
    """Kill every other process of this process namespace, repeating until none is left."""
    ends = time.monotonic() + 5
    while time.monotonic() < ends:
        try:
            os.kill(-1, signal.SIGKILL)
        except ProcessLookupError:
            return
        _reap(0)
        time.sleep(0.01)


def python(module: str, *words: str) -> list[str]:
    """Return the command line that runs a module of roost's as a program; it needs `SELF` in its environment."""
    return [sys.executable, "-P", "-m", module, *words]


def command_line(tree: Path, *command: str) -> list[str]:
    """Return the command line that runs one command of a tree in the build's namespace; it needs `SELF`."""
    return python("roost.host.bounded", str(tree), *command)


def main(argv: Sequence[str]) -> int:
    """Run COMMAND of TREE; return its exit status, or 1 when it exceeds a limit or cannot be run."""
    tree, *command = argv
    os.umask(0o022)
    limits = Limits()
    try:
        runner = Runner(confinement.enter(tree, limits.memory), limits, output=1)
        status = runner.run(command)
    except (OSError, ExceededError) as error:
        sys.stderr.write(f"{command[0]}: {getattr(error, 'strerror', None) or error}\n")
        return 1
    return status if status >= 0 else 128 - status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
