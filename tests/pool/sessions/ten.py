"""Ten jobs by `inv run`, which is killed before anything runs, stopped half-way, and resumed: nothing runs twice."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

from tests.pool.sessions.access_point import HERE, ads, call, keep, pids, roost, say, started, until

#: The job whose io disk cannot be read when HTCondor transfers it.
LOST = "io-9"
#: The job that never ends (`tests.pool.ten.ENDLESS`).
ENDLESS = "io-6"
DOMAINS = Path("/var/log/domains")
RUN = "RoostRun =!= undefined"


def main() -> None:
    """Run, kill, resume, stop, resume; write what was seen."""
    negotiators = pids("condor_negotiator")
    for pid in negotiators:
        os.kill(pid, signal.SIGSTOP)
    with started("roost", "run", "ten", "--jobs", "jobs.csv", "out") as one:
        until("the jobs in the queue", lambda: ads("condor_q", RUN), step=0.05)
        # Whether it has written the cluster down by now, nobody knows.
        os.killpg(one.pid, signal.SIGKILL)
        one.wait()
    queued = ads("condor_q", RUN)
    # One that is to be held: its io disk cannot be read when it is needed. (One that is gone would be made again.)
    disk = HERE / "out" / "disks" / f"{LOST}.raw"
    disk.chmod(0)
    for pid in negotiators:
        os.kill(pid, signal.SIGCONT)

    with started("roost", "run", "--resume", "out") as one:
        done = "JobStatus == 4 && RoostRun =!= undefined"
        until("half of the jobs done", lambda: len(ads("condor_history", done)) >= 3, 420, 3.0)
        os.kill(one.pid, signal.SIGTERM)
        begin = time.monotonic()
        one.wait(30)
        stopped = {"seconds": time.monotonic() - begin, "code": one.returncode}
        say(f"stopped: {stopped}")
    # Its description has the endless one removed after five minutes: its shadow is told that they are over.
    for ad in until("the endless job at work", _endless, 420):
        argv = ["condor_qedit", "-forward", f"{ad['ClusterId']}.{ad['ProcId']}", "EnteredCurrentStatus"]
        subprocess.run([*argv, str(ad["EnteredCurrentStatus"] - 300)], check=False, timeout=60)
    state_then = (HERE / "out" / "state.jsonl").read_text()
    code, answer, said = roost("run", "--resume", "out")
    everything = [*ads("condor_q", RUN), *ads("condor_history", RUN)]
    # What was held is mended, released, and resumed once more.
    disk.chmod(0o644)
    call("condor_release", "-all")
    again = roost("run", "--resume", "out")
    keep(
        queued=len(queued),
        stopped=stopped,
        ended_then=state_then.count('"ended"'),
        code=code,
        answer=answer,
        said=said,
        jobs=[
            {key: ad.get(key) for key in ("ClusterId", "ProcId", "RoostJob", "NumJobStarts", "JobStatus", "RoostRun")}
            for ad in everything
        ],
        again={"code": again[0], "answer": again[1]},
    )


def _endless() -> list[dict[str, Any]]:
    """Return the job that never ends once it has begun in its guest, or has been removed already."""
    job = f'RoostJob == "{ENDLESS}"'
    for ad in ads("condor_q", f"{job} && JobStatus == 2"):
        for console in DOMAINS.glob(f"*_{ad['ClusterId']}.{ad['ProcId']}.console"):
            if b"roost: job started" in console.read_bytes():
                return [ad]
    return ads("condor_history", job)


if __name__ == "__main__":
    main()
