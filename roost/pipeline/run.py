"""The steps of `inv run`: io disks, jobs, the returned disks, a verdict for each job, a report."""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.boot.context import Context
from roost.condor import access_point
from roost.errors import ImageError, UsageError
from roost.events import Events, Stages
from roost.host import output
from roost.pipeline import boot, run_plan
from roost.pipeline.run_plan import Options
from roost.recipe.boot_test import BootTest
from roost.recipe.loader import Loaded, absolute
from roost.recipe.words import listed
from roost.run import place as places
from roost.run import plan as plans
from roost.run.description import How
from roost.run.local import Local
from roost.run.model import Executor, Outcome, Run
from roost.run.place import Place
from roost.run.plan import Plan
from roost.run.pool import Pool
from roost.run.result import Result
from roost.run.state import ANEW, State
from roost.run.work import Contents, Work
from roost.store import lease, manifest, staging


def run(name: str | None, directory: Path, options: Options, *, events: Events) -> Result:
    """Run the jobs of a file on a built image; work done in `directory` by an earlier call is not repeated.

    Raises `UsageError` for another run's directory, and `RecipeError` with all mistakes in the jobs.
    """
    _require_writable(options)
    plan, loaded, place = run_plan.planned(
        name, directory, options, "pool" if options.guests is None else "local", events
    )
    with ExitStack() as held:
        run_plan.begin(plan, loaded, place, held)
        return _run(plan, loaded, place, options, events)


def resume(directory: Path, options: Options, *, events: Events) -> Result:
    """Resume the run in `directory`. Raises `UsageError` if there is none."""
    _require_writable(options)
    place = Place(absolute(directory))
    if plans.read(place) is None:
        raise UsageError(f"there is no run in {directory}", hint="inv run NAME --jobs FILE DIR starts one")
    with place.lock():
        plan = plans.read(place)
        if plan is None:
            raise UsageError(f"there is no run in {directory}")
        if options.guests is not None and plan.executor != "local":
            raise UsageError(f"the jobs of {directory} run in the {plan.executor}", hint="leave --local out")
        if plan.executor == "dag":
            raise UsageError(
                f"DAGMan runs the jobs of {directory}", hint=f"condor_submit_dag {place.directory}/run.dag resumes it"
            )
        return _run(plan, run_plan.load(plan), place, options.resumed(plan.options), events)


def _require_writable(options: Options) -> None:
    """Raise if a report could not be written, before hours are spent on the run."""
    for path in (options.html, options.junit):
        if path is not None and not (path is options.html and path.is_dir()):
            output.directory(path)


def _run(plan: Plan, loaded: Mapping[str, Loaded], place: Place, options: Options, events: Events) -> Result:
    since = time.monotonic()
    jobs = plan.jobs()
    with ExitStack() as held:
        place.make()
        state = held.enter_context(contextlib.closing(State(place.state)))
        run = Run(run_plan.images(plan, loaded, jobs, place), place, state, events)
        work = Work(run, jobs, plan.executor, Contents(plan), Stages(events))
        left = work.begin()
        about: Mapping[str, Any] = {"executor": plan.executor}
        if left:
            records = {name: built(one, held, events) for name, one in loaded.items()}
            sums = {name: record.sums for name, record in records.items()}
            changed = [name for name, one in plan.built.items() if one != sums.get(name)]
            if changed:
                what = f"{listed(changed)} was rebuilt since the run began: the other jobs would run on another image"
                raise ImageError(what, hint=ANEW)
            replace(plan, built=sums, options=options.recorded()).write(place)
            executor = _executor(run, records, options, held, events)
            work.execute(executor, work.make_disks(work.prepare(left)))
            about = executor.describe()
        outcomes = tuple(
            work.outcomes.get(job.name) or Outcome(job.name, "never started", reason="it was not run", image=job.image)
            for job in jobs
        )
    result = Result(plan.title, place.directory, outcomes, time.monotonic() - since, None, about)
    return report(result, place, html=options.html, junit=options.junit)


def report(result: Result, place: Place, *, html: Path | None = None, junit: Path | None = None) -> Result:
    """Write the reports of a run into its directory, or the given paths; return the result that names them."""
    from roost.run import junit as junits
    from roost.run import report as pages

    html = html / place.report.name if html is not None and html.is_dir() else html
    at = absolute(html) if html is not None else place.report
    result = replace(result, report=at)
    page = pages.page(result, at.parent).encode("utf-8", "replace")
    if html is None:
        places.write(at, page)
    else:
        output.write(html, page)
    if junit is not None:
        output.write(junit, junits.render(result))
    # The verdicts are written last: if they exist, the other files do too.
    places.write(place.directory / "report.json", (json.dumps(result.to_json(), indent=1) + "\n").encode())
    return result


def how(options: Options) -> How:
    """Return the requirements on the pool's machines."""
    word = options.boot.hypervisor
    return How("xen" if word == "xen" else "kvm" if word else None, options.timeout)


def built(loaded: Loaded, held: ExitStack, events: Events) -> manifest.Manifest:
    """Return the manifest of a built image, which is locked until the run has ended."""
    record = boot.built(loaded)
    boot.note_change(loaded, record, events)
    held.enter_context(staging.reading(loaded.build, lambda: events.note(staging.in_use(loaded.build))))
    if manifest.read(loaded.build) != record:
        raise ImageError(f"{loaded.recipe.name} was rebuilt meanwhile", hint="run the same command again")
    return record


def _executor(
    run: Run, built: Mapping[str, manifest.Manifest], options: Options, held: ExitStack, events: Events
) -> Executor:
    """Return the executor of the jobs."""
    if options.guests is None:
        # Checked first, so that no io disks are made in vain.
        access_point.require()
        return Pool(built, how(options))
    # The machines' files must stay in the cache meanwhile.
    held.enter_context(lease.held())
    contexts = {}
    for name, image in run.images.items():
        recipe = image.loaded.recipe
        vm = boot.machine(image.loaded, options.boot.hypervisor, built[name], events)
        # A job is judged by its disk, not by the expectations of its image's test.
        job = recipe.model_copy(update={"boot_test": BootTest(timeout=recipe.boot_test.timeout)})
        contexts[name] = boot.started(Context(vm, image.loaded.build, job, events=events), options.boot)
    return Local(contexts, options.guests, options.timeout)
