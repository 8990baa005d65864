"""The plan of `inv run`, checked before anything is written: the jobs, their images, the directory."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roost.condor.jobs_check import check_jobs
from roost.errors import Problem, RecipeError, UsageError
from roost.events import Events
from roost.host import paths
from roost.iodisk import make
from roost.pipeline import boot, environment
from roost.pipeline.table import doubtful
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.words import listed, shown
from roost.run import plan as plans
from roost.run import table as tables
from roost.run.model import Image, Job
from roost.run.place import LOCK, Place
from roost.run.plan import Plan
from roost.run.state import State
from roost.store import staging


@dataclass(frozen=True, slots=True)
class Options:
    """How jobs are run: `guests` at a time on this machine (None: in the pool), how each boots, and for how long.

    `timeout` is in seconds of a job's machine. When a run is resumed, None and the defaults of `boot` stand for its
    original options.
    """

    jobs: Path | None = None
    guests: int | None = None
    boot: boot.Options = boot.DEFAULTS
    timeout: float | None = None
    junit: Path | None = None
    html: Path | None = None

    def __post_init__(self) -> None:
        if self.guests is not None and self.guests < 1:
            raise UsageError(f"--local takes a number of guests of at least 1, not {self.guests}")
        if self.timeout is not None and self.timeout <= 0:
            raise UsageError("--timeout takes a time above 0")

    def recorded(self) -> dict[str, Any]:
        """Return the options that a resumed run needs."""
        return {
            "guests": self.guests,
            "accel": self.boot.accel,
            "hypervisor": self.boot.hypervisor,
            "machine": self.boot.machine,
            "require_kvm": self.boot.require_kvm,
            "timeout": self.timeout,
        }

    def resumed(self, original: Mapping[str, Any]) -> Options:
        """Return the options, with those of the original run where the caller gives none."""
        mine = boot.DEFAULTS
        one = self.boot
        how = boot.Options(
            one.accel if one.accel != mine.accel else str(original.get("accel", mine.accel)),
            one.hypervisor or original.get("hypervisor"),
            one.machine if one.machine != mine.machine else str(original.get("machine", mine.machine)),
            one.require_kvm or bool(original.get("require_kvm")),
        )
        guests = self.guests if self.guests is not None else original.get("guests")
        timeout = self.timeout if self.timeout is not None else original.get("timeout")
        return replace(self, guests=guests, boot=how, timeout=timeout)


def planned(
    name: str | None, directory: Path, options: Options, executor: str, events: Events
) -> tuple[Plan, dict[str, Loaded], Place]:
    """Return the plan, the recipes of its images, and its place; raise as `run`. Nothing is written."""
    environment.check()
    if options.jobs is None:
        raise UsageError("which jobs?", hint="inv run NAME --jobs jobs.csv DIR --local 2")
    table = tables.read(options.jobs)
    if name is None and not table.image:
        what = (
            f"an image or a directory is missing: the only word, '{shown(str(directory))}', is taken as the directory"
        )
        hint = "inv run NAME --jobs FILE DIR; a sweep with an axis `image` needs no NAME"
        raise UsageError(what, hint=hint)
    place = Place(loader.absolute(directory))
    project = loader.absolute(paths.project_root())
    # `--resume` may be called from another directory.
    called = loader.located(name, Path()) if name is not None else None
    wanted = Plan(table, called, project, executor, "", options.recorded())
    loaded = load(wanted)
    disks = {name: make.disk_of(one.recipe).name for name, one in loaded.items()}
    if len(set(disks.values())) > 1:
        raise UsageError(f"the images name their io disks differently: {listed(set(disks.values()))}")
    wanted = replace(wanted, disk=next(iter(disks.values())))
    for one in loaded.values():
        # Before a directory is made: the images are unchanged since their build.
        boot.built(one)
    _check(wanted, loaded, place)
    for line in dict.fromkeys(line for one in loaded.values() for line in doubtful(wanted.table, one.recipe)):
        events.note(line)
    return wanted, loaded, place


def begin(wanted: Plan, loaded: Mapping[str, Loaded], place: Place, held: ExitStack) -> None:
    """Make and lock the directory of a run; raise `UsageError` if it is another run's."""
    require_own(place, "run of inv", Path(wanted.table.file))
    place.make()
    held.enter_context(place.lock())
    earlier = plans.read(place)
    if earlier is None:
        _require_empty(place)
    else:
        _require_same(wanted, earlier, place)


def require_own(place: Place, what: str, *given: Path) -> None:
    """Raise `UsageError` for a directory with foreign files: a run writes dozens of files into it.

    `what` would begin there, `given` are the call's own input files.
    """
    if place.plan.is_file() or not place.directory.is_dir():
        return
    # Leftovers of a call that was interrupted before it wrote its plan.
    own = {place.disks, place.returned, place.results, place.logs, place.state, place.directory / LOCK}
    own |= {loader.absolute(one) for one in given}
    try:
        names = sorted(one.name for one in place.directory.iterdir() if one not in own)
    except OSError as error:
        raise UsageError(f"{place.directory} cannot be read: {error.strerror}") from error
    others = [name for name in names if not name.startswith(staging.WRITING)]
    if others:
        message = f"{place.directory} is not empty and not a {what}: it has {listed(others[:3])}"
        raise UsageError(message, hint="name a new directory, or an empty one")


def load(plan: Plan) -> dict[str, Loaded]:
    """Return the recipes of a plan's images; raise `RecipeError` with all mistakes."""
    table = plan.table
    if not table.image and plan.image is None:
        raise UsageError("which image?", hint="inv run NAME --jobs FILE DIR, or an axis `image` in a sweep")
    if table.image and plan.image is not None:
        what = f"{table.file} names the image of each job, and {shown(plan.image)} is given as NAME"
        raise UsageError(what, hint="leave NAME out")
    found: dict[str, Loaded] = {}
    problems: list[Problem] = []
    for name in plan.images:
        try:
            found[name] = replace(loader.load(loader.located(name, table.directory), plan.project), called=name)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    return found


def _check(plan: Plan, loaded: Mapping[str, Loaded], place: Place) -> None:
    """Raise `RecipeError` with all mistakes in the jobs, except missing inputs."""
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
    """Raise `UsageError` if a new run's directories contain foreign files."""
    for directory in (place.disks, place.returned, place.results, place.logs):
        if any(directory.iterdir()):
            raise UsageError(f"{directory} is not empty, and holds no run", hint="name another directory")
    # An empty one is that of a call that was interrupted before it wrote its plan.
    if place.state.exists() and place.state.lstat().st_size:
        raise UsageError(f"{place.state} exists without a run", hint="name another directory")


def _require_same(wanted: Plan, earlier: Plan, place: Place) -> None:
    """Raise `UsageError` if the directory holds another run; one whose jobs never started is discarded."""
    different = list(wanted.differences(earlier))
    if not different:
        return
    with contextlib.closing(State(place.state)) as state:
        if not state.empty:
            plans.refuse_other(wanted, earlier, place)
    for path in (*place.disks.iterdir(), place.state):
        path.unlink()
