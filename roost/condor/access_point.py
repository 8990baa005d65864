"""HTCondor's tools on the access point: submit jobs, query the queue and the history. Not pure: runs commands.

The jobs of a run are found by an attribute in their ClassAds, so no cluster number has to be recorded in time.
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ToolError
from roost.host import jsontext, process

#: Attributes of a job's ClassAd that name its run and the job within it.
RUN, JOB = "RoostRun", "RoostJob"
#: Deadlines in seconds: of a query; of a submission, in which condor_submit checks each file of each job.
ASKED, SUBMITTING = 60.0, 900.0
#: The largest clock difference in seconds between the schedd and this host.
CLOCKS = 3600
#: Size limit of an answer in bytes: an ad with the requested attributes has about 500.
ANSWER = 256 << 20
_TOKEN = re.compile(r"[A-Za-z0-9-]{8,64}")
_ATTRIBUTES = (
    "ClusterId", "ProcId", "JobStatus", "EnteredCurrentStatus", "HoldReason", "HoldReasonCode", "HoldReasonSubCode",
    "RemoveReason", "NumJobStarts", "RemoteWallClockTime", JOB,
)  # fmt: skip

#: JobStatus (HTCondor manual, job ClassAd attributes).
IDLE, RUNNING, REMOVED, COMPLETED, HELD = 1, 2, 3, 4, 5

HINT = "run it on an access point, where condor_q answers; --local N runs the jobs here, without HTCondor"


@dataclass(frozen=True, slots=True)
class Queued:
    """A job in the queue or the history: CLUSTER.PROC, its name in the run, its status, and the ad's attributes."""

    id: str
    name: str
    status: int
    ad: Mapping[str, Any]


def environment() -> dict[str, str]:
    """Return the environment variables with which HTCondor's tools find their configuration and the user."""
    names = ("CONDOR_CONFIG", "BEARER_TOKEN", "BEARER_TOKEN_FILE", "KRB5CCNAME", "X509_USER_PROXY", "TMPDIR")
    return {name: value for name, value in os.environ.items() if name in names or name.upper().startswith("_CONDOR_")}


def require() -> None:
    """Raise `HostError` unless HTCondor's tools are installed and a schedd answers."""
    for tool in ("condor_submit", "condor_q", "condor_history"):
        if process.which(tool) is None:
            raise HostError(f"not an access point of HTCondor: {tool} is not installed", hint=HINT)
    queued("00000000")


def submit(file: Path, directory: Path) -> int:
    """Submit a description whose relative names start from `directory`; return the cluster number.

    Raises `ToolError` with condor_submit's message; jobs may be in the queue even then: check with `queued`.
    """
    done = process.run(
        ["condor_submit", "-terse", file],
        deadline=SUBMITTING,
        capture=True,
        cwd=directory,
        env=environment(),
        what="condor_submit refused the jobs",
    )
    found = {match[1] for match in re.finditer(r"(\d+)\.\d+\s+-\s+(\d+)\.\d+", done.text) if match[1] == match[2]}
    if len(found) != 1:
        raise ToolError("condor_submit named no cluster", argv=done.argv, returncode=0, tail=process.tail(done.text))
    return int(found.pop())


def queued(token: str) -> list[Queued]:
    """Return the jobs of a run that are in the queue. Raises `HostError` when the schedd does not answer."""
    return _ads(["condor_q", "-allusers", *_question(token)], "no schedd answers")


def past(token: str, since: float, most: int) -> list[Queued]:
    """Return the jobs of a run that left the queue, at most `most`: the number of jobs in the run.

    `since` is the time of submission in seconds since 1970: the history is read back to that time only.
    Raises `HostError` when it cannot be read.
    """
    argv = ["condor_history", *_question(token), "-limit", str(most)]
    return _ads([*argv, "-since", f"EnteredCurrentStatus < {int(since) - CLOCKS}"], "the history cannot be read")


def _question(token: str) -> Sequence[str]:
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"{token!r} cannot stand in a constraint")
    return ("-constraint", f'{RUN} == "{token}"', "-json", "-attributes", ",".join(_ATTRIBUTES))


def _ads(argv: Sequence[str], what: str) -> list[Queued]:
    try:
        done = process.run(argv, deadline=ASKED, capture=True, env=environment(), what=what)
    except ToolError as error:
        raise HostError(what, hint=HINT, tail=error.tail) from error
    if len(done.stdout) > ANSWER:
        raise HostError(f"{what}: {argv[0]} answered with more than {ANSWER >> 20} MiB")
    return read_ads(done.text)


def read_ads(text: str) -> list[Queued]:
    """Return the jobs in the JSON output of condor_q or condor_history. Raises `HostError` for anything else."""
    try:
        # With no ads the tools print nothing, not an empty list.
        ads = jsontext.loads(text) if text.strip() else []
        if not isinstance(ads, list):
            raise ValueError("not a list")
        return [
            Queued(f"{int(ad['ClusterId'])}.{int(ad['ProcId'])}", str(ad.get(JOB, "")), int(ad["JobStatus"]), ad)
            for ad in ads
        ]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise HostError("HTCondor's answer is not a list of jobs in JSON", tail=process.tail(text)) from error
