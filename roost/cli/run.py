"""The task `run`: runs many jobs from start to end."""

from __future__ import annotations

import os
import shlex
import sys
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.cli import fold, lastresort, quantity, terminal
from roost.cli.verb import finish, verb
from roost.errors import HostError, UsageError
from roost.recipe.words import counted, shown

#: Maximum number of jobs listed on a terminal.
LISTED = 200
#: Columns for names in a table that is too wide for the terminal.
NAME = 40
#: Marks a flag that is not given: 0 guests is a mistake, not a request to use a pool.
NOT_HERE = -(1 << 30)


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `run`."""

    jobs: str = ""
    local: int = NOT_HERE
    dag: str = ""
    resume: str = ""
    max_jobs: int = 500
    max_disks: int = 4
    retries: int = 2
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
        "local": "run the jobs on this machine, N guests at a time",
        "dag": "write a DAGMan workflow into this directory instead; `condor_submit_dag DIR/run.dag` runs it",
        "max-jobs": "with --dag: at most N jobs in the queue at a time",
        "max-disks": "with --dag: at most N io disks being made, and N being read, at a time",
        "retries": "with --dag: retry a job whose machine was lost up to N times",
        "resume": "resume the run in this directory; a job that has a verdict is not run again",
        "timeout": "stop a job's machine after this time, such as 10min; default: the job's own and that of a boot",
        "junit": "write the verdicts as JUnit XML",
        "html": "write the page of the run to this file or directory; default: DIR/report.html",
        "hypervisor": "kvm or xen; default: the recipe's first",
        "accel": "with --local: auto, kvm or tcg",
        "require-kvm": "with --local: fail where KVM does not work",
    },
)
def run(_context: object, flags: Flags, words: list[str] | None = None, json: bool = False) -> None:
    """Run many jobs of NAME, and collect their results in DIR. Exits 0 if every job is done.

    Makes an io disk for each job, runs the jobs, and extracts their results into DIR.
    """
    from roost.pipeline import boot, run_plan
    from roost.pipeline import run as story

    timeout = quantity.duration("--timeout", flags.timeout)
    options = run_plan.Options(
        Path(flags.jobs) if flags.jobs else None,
        None if flags.local == NOT_HERE else flags.local,
        boot.Options(flags.accel, flags.hypervisor or None, require_kvm=flags.require_kvm),
        timeout,
        Path(flags.junit) if flags.junit else None,
        Path(flags.html) if flags.html else None,
    )
    given = words or []
    _require_used(flags)
    with terminal.events() as events:
        if flags.dag:
            _write_dag(flags, given, options, events, json)
            return
        if flags.resume:
            if given or flags.jobs:
                raise UsageError("--resume takes neither a name nor --jobs", hint=f"inv run --resume {flags.resume}")
            with _resume_hint(flags.resume):
                result = story.resume(Path(flags.resume), options, events=events)
        else:
            if not 1 <= len(given) <= 2:
                raise UsageError("no image and no directory given", hint="inv run NAME --jobs FILE DIR --local 2")
            with _resume_hint(given[-1]):
                result = story.run(given[0] if len(given) == 2 else None, Path(given[-1]), options, events=events)
    answer = result.to_json()
    terminal.write_json(answer) if json else terminal.write_text(_shown(answer, fold.columns(sys.stdout)))
    finish(result.ok)


@contextmanager
def _resume_hint(directory: str) -> Iterator[None]:
    """Report how to resume a run that was interrupted, or that the host could not continue."""
    try:
        yield
    except (KeyboardInterrupt, HostError) as error:
        from roost.run.place import Place

        place = Place(Path(directory))
        # If the host lacked something from the start, there is nothing to resume.
        begun = not isinstance(error, HostError) or (place.state.is_file() and place.state.stat().st_size > 0)
        # Only the owner of a run can resume it.
        if place.plan.is_file() and begun and os.access(place.directory, os.W_OK, effective_ids=True):
            words = shlex.quote(shown(directory, 500))
            lastresort.write_error(f"roost: to resume: inv run --resume {words}\n")
        raise


def _require_used(flags: Flags) -> None:
    """Raise `UsageError` for a flag that the run would ignore."""
    default = Flags()
    here = ("accel", "require_kvm")
    unused: tuple[str, ...] = () if flags.dag else ("max_jobs", "max_disks", "retries")
    if flags.dag or (flags.local == NOT_HERE and not flags.resume):
        unused += here
    for name in unused:
        if getattr(flags, name) != getattr(default, name):
            needs = "--local" if name in here else "--dag"
            raise UsageError(f"--{name.replace('_', '-')} is for runs with {needs}", hint="leave it out")


def _shown(answer: Mapping[str, Any], width: int | None = None) -> str:
    """Render the verdicts: failures first. `width` is that of the terminal, None if lines may be long."""
    jobs = sorted(answer["jobs"], key=lambda one: one["verdict"] == "done")
    lines = list(_table(jobs[:LISTED], width))
    if len(jobs) > LISTED:
        lines.append(f"... {len(jobs) - LISTED} more, in {answer['directory']}/report.json")
    counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(answer["counts"].items()))
    how = f"; accelerator {answer['accelerator']}" if answer.get("accelerator") else ""
    lines.append(f"{counts or 'no jobs'}{how}; in {answer['directory']}")
    if answer["report"]:
        lines.append(f"report: {answer['report']}")
    return "\n".join(lines)


def _table(jobs: Sequence[Mapping[str, Any]], width: int | None) -> Iterator[str]:
    """Yield the lines of the table; text that does not fit into a line goes below it, indented by two."""
    from roost.cli import show

    rows = [
        [one["verdict"], shown(one["name"], 200), _seconds(one["seconds"]), shown(one["reason"], 300), _notes(one)]
        for one in jobs
    ]
    whole = show.table([["verdict", "job", "seconds", "reason", "notes" if any(map(_notes, jobs)) else ""], *rows])
    if width is None or all(len(line) <= width for line in whole.splitlines()):
        yield whole
        return
    # One long name must not push the other columns out of sight.
    names = min(NAME, max(width - len("never started    seconds  "), 3), max(len(row[1]) for row in rows))
    for verdict, name, seconds, reason, notes in [["verdict", "job", "seconds", "reason", ""], *rows]:
        head = f"{verdict:<13}  {name:<{names}}  {seconds:<7}"
        beside = len(head) + 2 + len(reason) <= width
        yield f"{head}  {reason}".rstrip() if beside else head.rstrip()
        for text in ("" if beside else reason, f"note: {notes}" if notes else ""):
            yield from textwrap.wrap(text, max(width, 20), initial_indent="  ", subsequent_indent="  ")


def _notes(job: Mapping[str, Any]) -> str:
    return shown("; ".join(job["notes"]), 300)


def _seconds(taken: float | None) -> str:
    return "" if taken is None else f"{taken:.1f}"


def _write_dag(flags: Flags, given: list[str], options: Any, events: Any, json: bool) -> None:
    """Write a workflow, and show how to run it."""
    from roost.pipeline import workflow
    from roost.run.dag import Throttles

    here = flags.local != NOT_HERE
    if here or flags.resume:
        raise UsageError(f"--dag and --{'local' if here else 'resume'} cannot be used together")
    if len(given) > 1:
        raise UsageError("which image?", hint="inv run NAME --jobs FILE --dag DIR")
    for name, value in (("jobs", flags.max_jobs), ("disks", flags.max_disks)):
        if value < 1:
            raise UsageError(f"--max-{name} takes a number of at least 1, not {value}")
    if flags.retries < 0:
        raise UsageError(f"--retries takes a number of at least 0, not {flags.retries}")
    throttles = Throttles(flags.max_jobs, flags.max_disks, flags.retries)
    answer = workflow.write(given[0] if given else None, Path(flags.dag), options, throttles, events)
    if json:
        terminal.write_json(answer)
    else:
        terminal.write_text(f"{counted(len(answer['jobs']), 'job')} in {answer['dag']}\nnext: {answer['submit']}")
