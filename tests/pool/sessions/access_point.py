"""The access point as a session sees it: calls as its user, HTCondor's answers, the guests' processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

HERE = Path.cwd()
USER = os.environ.get("SUBMITTER", "submitter")
PROJECT = HERE / "project"
AS_USER = [
    *("setpriv", "--reuid", USER, "--regid", USER, "--init-groups", "--reset-env", "env", "-C", str(HERE)),
    *("PATH=/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", f"ROOST_ROOT={PROJECT}", "LC_ALL=C.UTF-8"),
]


def say(text: str) -> None:
    """Say what the session does, with its time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


def call(*argv: str, check: bool = True, timeout: float = 300) -> subprocess.CompletedProcess[str]:
    """Run a command as the user; return what it said."""
    done = subprocess.run([*AS_USER, *argv], capture_output=True, text=True, timeout=timeout, check=False)
    say(f"$ {' '.join(argv)}: {done.returncode}\n{done.stdout[-3000:]}{done.stderr[-3000:]}")
    if check and done.returncode != 0:
        raise SystemExit(f"{argv[0]} failed")
    return done


def roost(*argv: str) -> tuple[int, dict[str, Any], str]:
    """Run roost as the user with --json; return exit code, answer and progress."""
    done = call("roost", *argv, "--json", check=False)
    try:
        answer = json.loads(done.stdout)
    except ValueError:
        answer = {}
    return done.returncode, answer, done.stderr


@contextmanager
def started(*argv: str) -> Iterator[subprocess.Popen[str]]:
    """Start a command as the user in a session of its own, and end it after all; what it says is in started.log."""
    with (HERE / "started.log").open("a") as log:
        one = subprocess.Popen([*AS_USER, *argv], stdout=log, stderr=log, text=True, start_new_session=True)
        try:
            yield one
        finally:
            if one.poll() is None:
                os.killpg(one.pid, signal.SIGKILL)
            one.wait()


def until(what: str, ready: Callable[[], Any], seconds: float = 240, step: float = 1.0) -> Any:
    """Wait until something is so, and return it; end the session when it does not come."""
    end = time.monotonic() + seconds
    while True:
        found = ready()
        if found:
            say(f"seen: {what}")
            return found
        if time.monotonic() > end:
            raise SystemExit(f"never seen: {what}")
        time.sleep(step)


def ads(tool: str, constraint: str = "true") -> list[dict[str, Any]]:
    """Return the ads that condor_q or condor_history has of jobs for which a constraint holds."""
    more = ["-allusers"] if tool == "condor_q" else []
    argv = [tool, *more, "-json", "-constraint", constraint]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    found: list[dict[str, Any]] = json.loads(done.stdout) if done.stdout.strip() else []
    return found


def pids(words: str) -> list[int]:
    """Return the processes whose command line contains some words."""
    found = []
    for directory in Path("/proc").glob("[0-9]*"):
        try:
            line = (directory / "cmdline").read_bytes().replace(b"\0", b" ").decode("utf-8", "replace")
        except OSError:
            continue
        if words in line and int(directory.name) != os.getpid():
            found.append(int(directory.name))
    return found


def keep(**facts: Any) -> None:
    """Write what was seen for the tests outside."""
    (HERE / "facts.json").write_text(json.dumps(facts, indent=1))
