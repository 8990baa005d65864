"""The steps of `inv run --dag`: a run written as a DAGMan workflow, and the steps that its nodes call later."""

from __future__ import annotations

import contextlib
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.condor import dag_writer
from roost.condor.event_log import Follower
from roost.errors import ImageError, UsageError
from roost.events import Events, Silent, Stages
from roost.host import causes
from roost.iodisk import make
from roost.pipeline import run as story
from roost.pipeline import run_plan
from roost.recipe.loader import Loaded, absolute
from roost.recipe.words import listed
from roost.run import dag, outcomes
from roost.run import plan as plans
from roost.run.dag import Throttles
from roost.run.model import Job, Outcome, Run
from roost.run.place import Place
from roost.run.plan import Plan
from roost.run.pool import end_of
from roost.run.result import Result
from roost.run.state import State
from roost.run.watch import Gone, Watch
from roost.run.work import Contents, Work
from roost.store import manifest
from roost.store.staging import write_atomically

#: The report for CI systems, next to report.json and report.html.
JUNIT = "junit.xml"
#: The name of the executor in such a run's plan.
EXECUTOR = "dag"
#: Jobs with missing inputs that are listed individually.
_TOLD = 5
_ID = re.compile(r"(\d{1,10})\.(\d{1,10})")


def write(
    name: str | None, directory: Path, options: run_plan.Options, throttles: Throttles, events: Events
) -> dict[str, Any]:
    """Write the workflow of a run into a directory, and return the JSON of `inv run --dag --json`.

    Raises as `story.run`: nothing is written if there is a mistake in a recipe, a job or a name.
    """
    if options.html or options.junit:
        raise UsageError(
            f"the last node of a workflow writes report.html and {JUNIT} into its directory",
            hint="leave --html and --junit out",
        )
    dag_writer.require_directory(str(absolute(directory)))
    plan, images, place = run_plan.planned(name, directory, options, EXECUTOR, events)
    run_plan.require_own(place, "workflow of inv run")
    with contextlib.ExitStack() as held:
        run_plan.begin(plan, images, place, held)
        _require_new(place)
        built = {called: story.built(one, held, events) for called, one in images.items()}
        described = run_plan.images(plan, images, plan.jobs(), place)
        written = dag.workflow(described, built, place, secrets.token_hex(16), throttles, story.how(options))
        plan = replace(plan, built={called: record.sums for called, record in built.items()})
        try:
            (place.directory / dag.SAID).mkdir(exist_ok=True)
            for file, text in written.texts.items():
                write_atomically(place.directory / file, text.encode())
            (place.directory / dag.STEP).chmod(0o755)
        except OSError as error:
            raise causes.unwritable(error.filename or place.directory, error) from error
        plan.write(place)
    _report_missing(plan, images, events)
    path = place.directory / dag.DAG
    return {
        "name": plan.title,
        "ok": True,
        "directory": str(place.directory),
        "dag": str(path),
        "submit": f"condor_submit_dag {path}",
        "descriptions": sorted(str(place.directory / file) for file in written.texts if file.endswith(".sub")),
        "jobs": [{"name": job, "node": node} for job, node in written.nodes.items()],
    }


def _report_missing(plan: Plan, loaded: Mapping[str, Loaded], events: Events) -> None:
    """Report which jobs lack an input. That is not an error: the io nodes look for it only when they run."""
    contents = Contents(plan)
    sizes = {name: make.disk_of(one.recipe).areas[0].size for name, one in loaded.items()}
    whys = [(job.name, contents.of(number, sizes[job.image])[1]) for number, job in enumerate(plan.jobs())]
    missing = [(name, why) for name, why in whys if why]
    for name, why in missing[:_TOLD]:
        events.note(f"{name}: {why}; until that is fixed, the node io-{name} fails")
    if len(missing) > _TOLD:
        events.note(f"the inputs of {len(missing) - _TOLD} more jobs cannot be used as they are now")


def _require_new(place: Place) -> None:
    """Raise `UsageError` if the workflow was submitted: files that DAGMan uses are not rewritten."""
    with contextlib.closing(State(place.state)) as state:
        if not state.empty or (place.directory / f"{dag.DAG}.condor.sub").exists():
            hint = f"condor_submit_dag {place.directory / dag.DAG} resumes it; or name another directory"
            raise UsageError(f"the workflow in {place.directory} was submitted", hint=hint)


def step(directory: Path, words: Sequence[str]) -> int:
    """Do one step of a node in a run's directory; return the exit code for DAGMan.

    `io JOB` makes the io disk. `judge JOB ID RETURN RETRY` extracts the results: 0 when the job is done,
    `dag.FINAL_WORD` when a retry would not help, else 1. `clean JOB` removes the disks of a job that is done. `report`
    writes the report: 0 when every job is done, else 1, for which DAGMan writes a rescue DAG.
    """
    if not words or words[0] not in _STEPS:
        raise UsageError(f"which step? {', '.join(_STEPS)}")
    needed, do = _STEPS[words[0]]
    if len(words) - 1 < needed:
        more = "word" if needed == 1 else "words"
        raise UsageError(f"the step {words[0]} takes {needed} {more}, not {len(words) - 1}")
    with _opened(directory) as work:
        return do(work, words[1:])


@contextlib.contextmanager
def _opened(directory: Path) -> Iterator[Work]:
    place = Place(absolute(directory))
    plan = plans.read(place)
    if plan is None or plan.executor != EXECUTOR:
        raise UsageError(f"there is no workflow of a run in {directory}", hint="inv run NAME --jobs FILE --dag DIR")
    jobs, loaded = plan.jobs(), run_plan.load(plan)
    with contextlib.closing(State(place.state)) as state:
        run = Run(run_plan.images(plan, loaded, jobs, place), place, state, Silent())
        yield Work(run, jobs, EXECUTOR, Contents(plan), Stages(Silent()))


def _io(work: Work, words: Sequence[str]) -> int:
    """Make a job's io disk, unless it exists."""
    job = work.job(words[0])
    _require_same_image(work, job)
    if work.run.disk(job).is_file():
        return 0
    ready = work.make_disks(work.prepare([job]))
    return 0 if ready else 1


def _require_same_image(work: Work, job: Job) -> None:
    loaded = work.run.images[job.image].loaded
    record = manifest.read(loaded.build)
    if record is None or record.sums != work.contents.plan.built.get(job.image):
        what = f"{listed([job.image])} was rebuilt since the workflow was written, which is for the earlier image"
        raise ImageError(what, hint="write a new workflow in another directory")


def _judge(work: Work, words: Sequence[str]) -> int:
    """Extract a job's results and judge them; `words` are the job, its number, its exit code, the number of retries."""
    name, id_, returned = words[:3]
    job, place = work.job(name), work.run.place
    gone = _departure(job, id_, returned, place)
    end = end_of(gone, work.run.came_back(job, id_))
    if gone.starts or end.disk is not None:
        work.run.state.write("started", job.name)
    found = outcomes.outcome(job, end, place, work.run.state.starts(job.name))
    work.record(found)
    return 0 if found.verdict == "done" else dag.FINAL_WORD if found.verdict in {"failed", "held"} else 1


def _departure(job: Job, id_: str, returned: str, place: Place) -> Gone:
    """Return how a job left the queue, from its event log, or if that is silent, from DAGMan's arguments."""
    number = _ID.fullmatch(id_)
    if number is None:
        return Gone(job.name, id_, "lost", 0.0, 0, f"DAGMan could not submit it (its exit code is {returned})")
    watch = Watch(int(number[1]), [job.name])
    last = None
    try:
        for event in Follower(place.log(job.name)).events():
            last = watch.take(event) or last
    except OSError as error:
        raise causes.unreadable(place.log(job.name), error) from error
    if last is not None:
        return last
    (seen,) = watch.jobs.values()
    return Gone(job.name, id_, "lost", seen.seconds, seen.starts, f"its event log has no end (exit code {returned})")


def _clean(work: Work, words: Sequence[str]) -> int:
    """Remove the disks of a job that is done: its results are in results/."""
    job, place = work.job(words[0]), work.run.place
    record = work.run.state.ended(job.name)
    if record is None or record.get("verdict") != "done":
        raise UsageError(f"{job.name} is not done, and its disks are kept")
    own = re.compile(rf"{re.escape(job.name)}-\d+\.\d+\.{re.escape(work.run.format(job))}")
    for path in [work.run.disk(job), *(one for one in place.returned.iterdir() if own.fullmatch(one.name))]:
        path.unlink(missing_ok=True)
    return 0


def _report(work: Work, words: Sequence[str]) -> int:
    """Write the report on all jobs, whatever happened to their nodes."""
    begin = time.monotonic()
    work.begin()
    found = tuple(work.outcomes.get(job.name) or _open(work, job) for job in work.jobs)
    result = Result(
        work.contents.plan.title,
        work.run.place.directory,
        found,
        time.monotonic() - begin,
        None,
        {"executor": EXECUTOR},
    )
    place = work.run.place
    result = story.report(result, place, junit=place.directory / JUNIT)
    return 0 if result.ok else 1


def _open(work: Work, job: Job) -> Outcome:
    """Return the outcome of a job without a final one: it was held, or its node did not finish."""
    record = work.run.state.ended(job.name)
    if record is not None:
        with contextlib.suppress(ValueError):
            return outcomes.from_record(job, record, work.run.place)
    return Outcome(job.name, "never started", reason="its node did not run to its end", image=job.image, attempts=0)


#: The steps, and the minimum number of words for each.
_STEPS: dict[str, tuple[int, Callable[[Work, Sequence[str]], int]]] = {
    "io": (1, _io),
    "judge": (3, _judge),
    "clean": (1, _clean),
    "report": (0, _report),
}
