"""The story of `inv run`: io disks, jobs, the disks that come back, a verdict for each job, a report."""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roost.boot.context import Context
from roost.condor import access_point
from roost.condor.jobs_check import check_jobs
from roost.condor.jobs_file import Jobs, variable_of
from roost.errors import ImageError, Problem, RecipeError, UsageError
from roost.events import Events, Silent, Stages
from roost.host import paths
from roost.iodisk import make
from roost.pipeline import boot, environment
from roost.recipe import loader
from roost.recipe.boot_test import BootTest
from roost.recipe.loader import Loaded
from roost.recipe.words import listed, shown
from roost.run import plan as plans
from roost.run import table as tables
from roost.run.description import How
from roost.run.local import Local
from roost.run.model import Executor, Image, Job, Outcome, Run
from roost.run.place import Place
from roost.run.plan import Plan
from roost.run.pool import Pool
from roost.run.result import Result
from roost.run.state import State
from roost.run.work import Contents, Work
from roost.store import lease, manifest, staging
from roost.store.staging import write_atomically


@dataclass(frozen=True, slots=True)
class Options:
    """How jobs are run: `guests` at a time on this machine (None: in the pool), how each boots, and for how long.

    `timeout` is in seconds of a job's machine. None and the defaults of `boot` are what a run began with, where it is
    resumed.
    """

    jobs: Path | None = None
    guests: int | None = None
    boot: boot.Options = boot.DEFAULTS
    timeout: float | None = None
    junit: Path | None = None
    html: Path | None = None

    def __post_init__(self) -> None:
        if self.guests is not None and self.guests < 1:
            raise UsageError(f"--local takes a number of guests from 1, not {self.guests}")
        if self.timeout is not None and self.timeout <= 0:
            raise UsageError("--timeout takes a time above 0")

    def said(self) -> dict[str, Any]:
        """Return what of it a resumed run needs."""
        return {
            "guests": self.guests,
            "accel": self.boot.accel,
            "hypervisor": self.boot.hypervisor,
            "machine": self.boot.machine,
            "require_kvm": self.boot.require_kvm,
            "timeout": self.timeout,
        }

    def resumed(self, said: Mapping[str, Any]) -> Options:
        """Return the options with what a run began with, where the caller says nothing."""
        mine = boot.DEFAULTS
        one = self.boot
        how = boot.Options(
            one.accel if one.accel != mine.accel else str(said.get("accel", mine.accel)),
            one.hypervisor or said.get("hypervisor"),
            one.machine if one.machine != mine.machine else str(said.get("machine", mine.machine)),
            one.require_kvm or bool(said.get("require_kvm")),
        )
        guests = self.guests if self.guests is not None else said.get("guests")
        timeout = self.timeout if self.timeout is not None else said.get("timeout")
        return replace(self, guests=guests, boot=how, timeout=timeout)


def run(name: str | None, directory: Path, options: Options, *, events: Events) -> Result:
    """Run the jobs of a file on a built image; what an earlier call has done in `directory` is not done again.

    Raises `UsageError` for another run's directory, and `RecipeError` with everything that is wrong with the jobs.
    """
    plan, loaded, place = planned(name, directory, options, "pool" if options.guests is None else "local")
    with ExitStack() as held:
        begin(plan, loaded, place, held)
        return _run(plan, loaded, place, options, events)


def planned(
    name: str | None, directory: Path, options: Options, executor: str
) -> tuple[Plan, dict[str, Loaded], Place]:
    """Return what is to be run, the recipes of its images, and where; raise as `run`. Nothing is written."""
    environment.check()
    if options.jobs is None:
        raise UsageError("which jobs?", hint="inv run NAME --jobs jobs.csv DIR --local 2")
    table = tables.read(options.jobs)
    place = Place(absolute(directory))
    project = loader.absolute(paths.project_root())
    wanted = Plan(table, _called(name), project, executor, "", options.said())
    loaded = load(wanted)
    disks = {name: make.disk_of(one.recipe).name for name, one in loaded.items()}
    if len(set(disks.values())) > 1:
        raise UsageError(f"the images name their io disks differently: {listed(set(disks.values()))}")
    wanted = replace(wanted, disk=next(iter(disks.values())))
    _check(wanted, loaded, place)
    return wanted, loaded, place


def begin(wanted: Plan, loaded: Mapping[str, Loaded], place: Place, held: ExitStack) -> None:
    """Make and hold the directory of a run; raise `UsageError` when it is that of another."""
    place.make()
    held.enter_context(place.lock())
    earlier = plans.read(place)
    if earlier is None:
        _require_empty(place)
    else:
        _require_same(wanted, earlier, place)


def resume(directory: Path, options: Options, *, events: Events) -> Result:
    """Go on with the run in `directory`. Raises `UsageError` where there is none."""
    place = Place(absolute(directory))
    if plans.read(place) is None:
        raise UsageError(f"there is no run in {directory}", hint="inv run NAME --jobs FILE DIR begins one")
    with place.lock():
        plan = plans.read(place)
        if plan is None:
            raise UsageError(f"there is no run in {directory}")
        if options.guests is not None and plan.executor != "local":
            raise UsageError(f"the jobs of {directory} run in the {plan.executor}", hint="leave --local out")
        if plan.executor == "dag":
            raise UsageError(
                f"DAGMan runs the jobs of {directory}", hint=f"condor_submit_dag {place.directory}/run.dag goes on"
            )
        return _run(plan, load(plan), place, options.resumed(plan.options), events)


def absolute(directory: Path) -> Path:
    """Return a directory's path from the root."""
    # Not Path.resolve: a link stays as it is named.
    return Path(os.path.abspath(directory))  # noqa: PTH100


def _called(name: str | None) -> str | None:
    """Return what a recipe is called wherever `--resume` is called."""
    if name is None or not ("/" in name or name.endswith(loader.SUFFIXES)):
        return name
    return str(loader.absolute(Path(name)))


def _located(name: str, table: Jobs) -> str:
    """Return an image's name so that it says the same everywhere: one in a file starts from its directory."""
    is_path = "/" in name or name.endswith(loader.SUFFIXES)
    return str(loader.absolute(table.directory / name)) if is_path else name


def load(plan: Plan) -> dict[str, Loaded]:
    """Return the recipes of a plan's images; raise `RecipeError` with all that are wrong."""
    table = plan.table
    names = dict.fromkeys(table.column(table.image)) if table.image else dict.fromkeys([plan.image or ""])
    if not table.image and plan.image is None:
        raise UsageError("which image?", hint="inv run NAME --jobs FILE DIR, or an axis `image` in a sweep")
    if table.image and plan.image is not None:
        what = f"{table.file} names the image of each job, and {shown(plan.image)} is another word for it"
        raise UsageError(what, hint="leave NAME out")
    found: dict[str, Loaded] = {}
    problems: list[Problem] = []
    for name in names:
        try:
            found[name] = replace(loader.load(_located(name, table), plan.project), called=name)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    return found


def _check(plan: Plan, loaded: Mapping[str, Loaded], place: Place) -> None:
    """Raise `RecipeError` with everything that is wrong with the jobs, but for inputs that are not there."""
    jobs = plan.jobs()
    problems: list[Problem] = []
    for image in images(plan, loaded, jobs, place).values():
        try:
            check_jobs(image.table, image.loaded.recipe)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(list(dict.fromkeys(problems)))


def images(plan: Plan, loaded: Mapping[str, Loaded], jobs: tuple[Job, ...], place: Place) -> dict[str, Image]:
    """Return the images of a run by the caller's names, each with its jobs."""
    found = {}
    names = tuple(job.name for job in jobs)
    for name, one in loaded.items():
        chosen = tuple(number for number, job in enumerate(jobs) if job.image == name)
        disk = make.disk_of(one.recipe)
        table = plans.relocated(plan.table, chosen, names, (disk.name, disk.format), place)
        found[name] = Image(one, table, tuple(jobs[number] for number in chosen))
    return found


def _require_empty(place: Place) -> None:
    """Raise `UsageError` where files of somebody else stand in a new run's directories."""
    for directory in (place.disks, place.returned, place.results, place.logs):
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty, and no run began there", hint="name another directory")
    if place.state.exists():
        raise UsageError(f"{place.state} exists without a run", hint="name another directory")


def _require_same(wanted: Plan, earlier: Plan, place: Place) -> None:
    """Raise `UsageError` when the directory holds another run; one of which no job was started is forgotten."""
    different = list(wanted.differences(earlier))
    if not different:
        return
    with contextlib.closing(State(place.state)) as state:
        if not state.empty:
            plans.refuse_other(wanted, earlier, place)
    for path in (*place.disks.iterdir(), place.state):
        path.unlink()


def _run(plan: Plan, loaded: Mapping[str, Loaded], place: Place, options: Options, events: Events) -> Result:
    since = time.monotonic()
    stages = Stages(events)
    jobs = plan.jobs()
    with ExitStack() as held:
        place.make()
        records = {name: built(one, held, events) for name, one in loaded.items()}
        sums = sums_of(records)
        changed = [name for name, one in plan.built.items() if one != sums.get(name)]
        if changed:
            what = f"{listed(changed)} was built anew since the run began, and its jobs are to run on the same image"
            raise ImageError(what, hint="begin anew in another directory")
        plan = replace(plan, built=sums, options=options.said())
        state = held.enter_context(contextlib.closing(State(place.state)))
        plan.write(place)
        run = Run(images(plan, loaded, jobs, place), place, state, events)
        executor = _executor(run, records, options, held, events)
        contents = Contents(plan.table, plan.table.named(variable_of(plan.disk)))
        work = Work(run, jobs, executor, contents, stages)
        ready = work.prepare(work.begin())
        work.execute(work.make_disks(ready))
        outcomes = tuple(
            work.outcomes.get(job.name) or Outcome(job.name, "never started", reason="it was not run", image=job.image)
            for job in jobs
        )
        name = plan.image or ", ".join(loaded)
        result = Result(name, place.directory, outcomes, time.monotonic() - since, None, executor.describe())
    return report(result, place)


def report(result: Result, place: Place) -> Result:
    """Write the reports of a run into its directory; return the result with where they are."""
    write_atomically(place.directory / "report.json", (json.dumps(result.to_json(), indent=1) + "\n").encode())
    return result


def sums_of(records: Mapping[str, manifest.Manifest]) -> dict[str, dict[str, str]]:
    """Return the sums of the images' files, by the caller's name."""
    return {name: {file.name: file.sha256 for file in record.files} for name, record in records.items()}


def how(options: Options) -> How:
    """Return what is asked of the pool's machines; raise `UsageError` for a hypervisor that is none."""
    word = options.boot.hypervisor
    if word not in {None, "kvm", "xen"}:
        raise UsageError(f"no such hypervisor: '{word}'", hint="kvm or xen")
    return How("xen" if word == "xen" else "kvm" if word else None, options.timeout)


def built(loaded: Loaded, held: ExitStack, events: Events) -> manifest.Manifest:
    """Return the record of a built image, which stays as it is until the run has ended."""
    boot.built(loaded, Silent())
    held.enter_context(
        staging.lock(loaded.build, lambda: events.note(f"{loaded.recipe.name} is in use by another command: waiting"))
    )
    return boot.built(loaded, events)


def _executor(
    run: Run, built: Mapping[str, manifest.Manifest], options: Options, held: ExitStack, events: Events
) -> Executor:
    """Return who runs the jobs."""
    if options.guests is None:
        # Before io disks are made in vain.
        access_point.require()
        return Pool(built, how(options))
    # What the machines are started from stays in the cache meanwhile.
    held.enter_context(lease.held())
    contexts = {}
    for name, image in run.images.items():
        recipe = image.loaded.recipe
        vm = boot.machine(image.loaded, options.boot.hypervisor, built[name], events)
        # A job is judged by its disk, not by what the test of its image expects.
        job = recipe.model_copy(update={"boot_test": BootTest(timeout=recipe.boot_test.timeout)})
        contexts[name] = boot.started(Context(vm, image.loaded.build, job, events=events), options.boot)
    return Local(contexts, options.guests, options.timeout)
