"""The task `run`: the whole life of many jobs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.cli import terminal
from roost.cli.verb import finish, verb
from roost.errors import UsageError
from roost.recipe.words import shown

#: Jobs that are listed on a terminal.
LISTED = 200


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `run`."""

    jobs: str = ""
    local: int = 0
    resume: str = ""
    timeout: str = ""
    junit: str = ""
    html: str = ""
    hypervisor: str = ""
    accel: str = "auto"
    require_kvm: bool = False


@verb(
    rest="words",
    help={
        "jobs": "a CSV file or a sweep (.yaml): a job a row, as `inv io` reads it",
        "local": "run the jobs on this machine, so many guests at a time",
        "resume": "go on with the run in this directory; no job that has a verdict is run again",
        "timeout": "stop a job's machine after this time, such as 10min; default: the job's own and that of a boot",
        "junit": "write the verdicts as JUnit XML",
        "html": "write the page of the run there; default: DIR/report.html",
        "hypervisor": "kvm or xen; default: the recipe's first",
        "accel": "with --local: auto, kvm or tcg",
        "require-kvm": "with --local: fail where KVM does not work",
    },
)
def run(_context: object, flags: Flags, words: list[str] | None = None, json: bool = False) -> None:
    """Run many jobs: NAME --jobs FILE DIR. Ends with 0 if every job is done.

    Makes an io disk for each job, runs them, and takes out what they left, into DIR.
    """
    from roost.pipeline import boot
    from roost.pipeline import run as story
    from roost.recipe.quantities import parse_duration

    try:
        timeout = parse_duration(flags.timeout) if flags.timeout else None
    except ValueError as error:
        raise UsageError(str(error), hint="--timeout 10min") from error
    if flags.local < 0:
        raise UsageError(f"--local takes a number of guests from 1, not {flags.local}")
    options = story.Options(
        Path(flags.jobs) if flags.jobs else None,
        flags.local or None,
        boot.Options(flags.accel, flags.hypervisor or None, require_kvm=flags.require_kvm),
        timeout,
        Path(flags.junit) if flags.junit else None,
        Path(flags.html) if flags.html else None,
    )
    given = words or []
    with terminal.events() as events:
        if flags.resume:
            if given or flags.jobs:
                raise UsageError("--resume takes neither a name nor --jobs", hint=f"inv run --resume {flags.resume}")
            result = story.resume(Path(flags.resume), options, events=events)
        else:
            if not 1 <= len(given) <= 2:
                raise UsageError("which image, and which directory?", hint="inv run NAME --jobs FILE DIR --local 2")
            result = story.run(given[0] if len(given) == 2 else None, Path(given[-1]), options, events=events)
    answer = result.to_json()
    terminal.write_json(answer) if json else terminal.write_text(_shown(answer))
    finish(result.ok)


def _shown(answer: Mapping[str, Any]) -> str:
    """Render the verdicts: what is not done first."""
    from roost.cli import show

    jobs = sorted(answer["jobs"], key=lambda one: one["verdict"] == "done")
    rows = [
        [one["verdict"], shown(one["name"], 200), _seconds(one["seconds"]), shown(one["reason"], 300)]
        for one in jobs[:LISTED]
    ]
    lines = [show.table([["verdict", "job", "seconds", "reason"], *rows])]
    if len(jobs) > LISTED:
        lines.append(f"... {len(jobs) - LISTED} more, in {answer['directory']}/report.json")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(answer["counts"].items()))
    how = f"; accelerator {answer['accelerator']}" if answer.get("accelerator") else ""
    lines.append(f"{counts or 'no jobs'}{how}; in {answer['directory']}")
    if answer["report"]:
        lines.append(f"report: {answer['report']}")
    return "\n".join(lines)


def _seconds(taken: float | None) -> str:
    return "" if taken is None else f"{taken:.1f}"
