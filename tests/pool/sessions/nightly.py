"""A factory's workflow: a job killed, one sent away, a place that takes no publication; then the rescue DAG."""

from __future__ import annotations

import http.server
import json
import os
import re
import shutil
import signal
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from tests.pool.nightly import ADDRESS, PORT, VARIANTS
from tests.pool.sessions.access_point import HERE, ads, call, keep, pids, roost, say, until

#: The node whose job is killed, the one whose job is sent away, and the image that cannot be published at first.
KILLED, SENT_AWAY, CLOSED = "image_pair-one", "boot_pair-two", "pair-two"
#: Seconds: other pools have the processors first.
LONG = 600
CATALOGUE, DIRECTORY = HERE / "catalogue", HERE / "dag"
DAG = DIRECTORY / "factory.dag"


def main() -> None:
    """Write, submit, kill, send away, look; mend; submit again; build the same without a pool."""
    shutil.copy(HERE / "archive.gpg", "/etc/apt/trusted.gpg.d/nightly.gpg")
    handler = partial(http.server.SimpleHTTPRequestHandler, directory=str(HERE / "archive"))
    server = http.server.ThreadingHTTPServer((ADDRESS, PORT), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    call("mkdir", "-p", "-m", "755", str(CATALOGUE))
    call("mkdir", "-m", "555", str(CATALOGUE / CLOSED))
    names = ("pair", "tight", "typo")
    code, written, said = roost("factory", *names, "--publish", str(CATALOGUE), "--dag", str(DIRECTORY))
    if not DAG.is_file():
        raise SystemExit(f"no workflow ({code}): {said}")
    call("condor_submit_dag", str(DAG))
    until("the build at work", _kill, LONG, 0.2)
    with ThreadPoolExecutor(1) as beside:
        sent = beside.submit(until, "the test boot at work", _send_away, LONG, 0.2)
        # The same images without a pool, while it works, with a cache of their own.
        alone = [
            call("nice", "-n", "10", "roost", "build", name, check=False, timeout=LONG).returncode for name in VARIANTS
        ]
        sent.result()
    _wait()
    first = _left()
    (CATALOGUE / CLOSED).chmod(0o755)
    call("condor_submit_dag", str(DAG))
    _wait()
    jobs = ads("condor_history", "DAGNodeName =!= undefined")
    verified = roost("verify", str(CATALOGUE))
    keep(
        code=code,
        written=written,
        first=first,
        second=_left(),
        jobs=[
            {
                key: ad.get(key)
                for key in ("ClusterId", "DAGNodeName", "JobUniverse", "NumJobStarts", "ExitBySignal", "User")
            }
            for ad in jobs
        ],
        built={"codes": alone, "sums": {name: _sums(HERE / "project/build" / name) for name in VARIANTS}},
        published={path.parent.parent.name: _sums(path.parent) for path in CATALOGUE.glob("*/*/SHA256SUMS")},
        verified={"code": verified[0], "answer": verified[1]},
    )


def _kill() -> bool:
    """Kill what a job runs as soon as it runs: the job ends by a signal, and DAGMan tries it again."""
    found = [pid for pid in pids(f"roost.cli.factory_job {KILLED}") if _program(pid).startswith("python")]
    for pid in found:
        os.kill(pid, signal.SIGKILL)
    if found:
        say(f"killed {KILLED}: {found}")
    return bool(found)


def _send_away() -> bool:
    """Have HTCondor take a job from its machine: it goes back to the queue by itself."""
    if not pids(f"roost.cli.factory_job {SENT_AWAY}"):
        return False
    for ad in ads("condor_q", f'DAGNodeName == "{SENT_AWAY}" && JobStatus == 2'):
        call("condor_vacate_job", "-fast", f"{ad['ClusterId']}.{ad['ProcId']}")
        return True
    return False


def _program(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/exe").readlink().name
    except OSError:
        return ""


def _wait() -> None:
    """Wait until no DAGMan works."""
    until("the end of the workflow", lambda: not ads("condor_q", "JobUniverse == 7"), LONG, 2.0)


def _left() -> dict[str, Any]:
    """Return what the workflow left."""
    return {
        "result": json.loads((DIRECTORY / "result.json").read_text()),
        "rescue": sorted(path.name for path in DIRECTORY.glob("factory.dag.rescue*")),
    }


def _sums(directory: Path) -> list[str]:
    """Return the lines of the sums of the disks in a directory."""
    lines = (directory / "SHA256SUMS").read_text().splitlines()
    return sorted(line for line in lines if re.search(r"\.(qcow2|raw)$", line))


if __name__ == "__main__":
    main()
