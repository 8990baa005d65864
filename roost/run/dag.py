"""A run as a DAGMan workflow: the files in its directory, and the work of each node. Pure.

Each job has three nodes and a script: `io-JOB` makes the io disk, `run-JOB` is the job in the pool, its POST script
extracts and judges the returned disk, `clean-JOB` removes the disks of a finished job. FINAL writes the report.
All but the jobs themselves run on the access point (universe local, scripts of DAGMan), which has the run's directory
and the roost that wrote it, so roost is not transferred.
"""

from __future__ import annotations

import os
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import roost
from roost.condor import access_point, dag_writer
from roost.condor.dag_writer import Dag, Node
from roost.errors import Problem, RecipeError
from roost.recipe.words import shown
from roost.run import description
from roost.run.description import ANYHOW, ForNodes, How, Wanted
from roost.run.model import Image
from roost.run.place import Place
from roost.store.manifest import Manifest

#: Files in the run's directory: the workflow, the program of its steps and its description, DAGMan's configuration.
DAG, STEP, STEP_SUB, CONFIG = "run.dag", "step", "step.sub", "dagman.config"
#: The directory of the steps' output, one file each.
SAID = "steps"
#: The column with a priority that is added to that of the job's nodes.
PRIORITY = "priority"
#: Node priorities: first nodes that free space, then those that use what was made, then those that take space.
CLEAN, RUN, IO = 20, 10, 0
#: Seconds after which a held job is removed, since DAGMan would wait for it; periodic_release may act before.
HELD = 600
#: The exit code of a POST script when a retry is useless: the job itself failed, or was held.
FINAL_WORD = 2
#: Environment variables passed to the steps, in addition to PATH and PYTHONPATH.
KEPT = ("HOME", "ROOST_ROOT", "ROOST_CACHE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "TMPDIR")


@dataclass(frozen=True, slots=True)
class Throttles:
    """Limits: jobs in the queue at a time, io disks made at a time, retries of a job."""

    jobs: int = 500
    disks: int = 4
    retries: int = 2


@dataclass(frozen=True, slots=True)
class Written:
    """The files of a workflow by their names in the run's directory, and the node of each job."""

    texts: Mapping[str, str]
    nodes: Mapping[str, str]


def workflow(
    images: Mapping[str, Image],
    built: Mapping[str, Manifest],
    place: Place,
    token: str,
    throttles: Throttles,
    how: How = ANYHOW,
) -> Written:
    """Return the files of a workflow; raise `RecipeError` with everything that DAGMan or HTCondor cannot express."""
    files = dict(zip(images, dag_writer.names_of(list(images), "job-"), strict=True))
    jobs = [job for image in images.values() for job in image.jobs]
    bases = dict(zip((job.name for job in jobs), dag_writer.names_of([job.name for job in jobs]), strict=True))
    texts: dict[str, str] = {}
    nodes: list[Node] = []
    problems: list[Problem] = []
    for name, image in images.items():
        log = f"{place.logs.name}/$({description.NAME}).log"
        wanted = Wanted(image, built[name].files, range(len(image.jobs)), token, log, how)
        try:
            priorities = _priorities(image)
            values = description.describe(wanted, place)
            made = description.for_nodes(values, HELD, image.table)
            texts[f"{files[name]}.sub"] = made.text
            names = [bases[job.name] for job in image.jobs]
            for_image = _ForImage(f"{files[name]}.sub", place, throttles.retries, made, priorities)
            nodes += _nodes(image, names, for_image)
        except RecipeError as error:
            problems += error.problems
    if problems:
        raise RecipeError(problems)
    step = {"step": "report", description.NAME: "-"}
    nodes.append(Node("report", STEP_SUB, step, final=True))
    remarks = [
        f"Written by roost {roost.__version__}: {len(jobs)} jobs.",
        f"Run it with: condor_submit_dag {place.directory}/{DAG}",
        "If some of it fails, the same command runs what is left.",
    ]
    limits = {"io": throttles.disks, "run": throttles.jobs, "clean": 2 * throttles.disks}
    texts[DAG] = dag_writer.render(Dag(nodes, str(place.directory), limits, remarks, str(place.directory / CONFIG)))
    texts[CONFIG] = (
        f"# Each looks at a disk: no more at a time than the access point has room for.\n{_config(throttles)}"
    )
    texts[STEP_SUB] = _step_description(place, token)
    texts[STEP] = program(place)
    return Written(texts, {job.name: f"run-{bases[job.name]}" for job in jobs})


@dataclass(frozen=True, slots=True)
class _ForImage:
    """What the nodes of an image's jobs share, and the VARS and priority of each, row by row."""

    file: str
    place: Place
    retries: int
    made: ForNodes
    priorities: Sequence[int]


def _nodes(image: Image, bases: Sequence[str], own: _ForImage) -> Iterator[Node]:
    for number, (job, base) in enumerate(zip(image.jobs, bases, strict=True)):
        io, run, clean, more = f"io-{base}", f"run-{base}", f"clean-{base}", own.priorities[number]
        judge = [str(own.place.directory / STEP), "judge", job.name, "$JOBID", "$RETURN", "$RETRY"]
        yield Node(io, STEP_SUB, {"step": "io", description.NAME: job.name}, priority=IO + more, category="io")
        yield Node(
            run, own.file, own.made.variables[number], (io,), judge,
            retries=own.retries, unless=FINAL_WORD, priority=RUN + more, category="run",
        )  # fmt: skip
        step = {"step": "clean", description.NAME: job.name}
        yield Node(clean, STEP_SUB, step, (run,), priority=CLEAN + more, category="clean")


def _priorities(image: Image) -> list[int]:
    """Return the priority added to the nodes of each row; raise `RecipeError` with all that are invalid."""
    column = image.table.named(PRIORITY)
    if column is None:
        return [0] * len(image.jobs)
    found, problems = [], []
    for number, value in enumerate(image.table.column(column)):
        if re.fullmatch(r"[+-]?[0-9]{1,9}", value or "0"):
            found.append(int(value or "0"))
        else:
            what = f"the priority '{shown(value, 40)}' is not a whole number of at most 9 digits"
            problems.append(image.table.problem(number, what))
    if problems:
        raise RecipeError(problems)
    return found


def _config(throttles: Throttles) -> str:
    return f"DAGMAN_MAX_POST_SCRIPTS = {throttles.disks}\n"


def _step_description(place: Place, token: str) -> str:
    """Return the submit description of the nodes that run on the access point."""
    output = f"{SAID}/$(step)-$({description.NAME})"
    return (
        "# Steps of a run on the access point: io disks, cleaning up, the report.\n"
        "universe   = local\n"
        f"executable = {place.directory}/{STEP}\n"
        f"arguments  = $(step) $({description.NAME})\n"
        f"output     = {output}.out\n"
        f"error      = {output}.err\n"
        f"log        = {SAID}/steps.log\n"
        f'+{access_point.RUN}  = "{token}"\n'
        "queue\n"
    )


def program(place: Place) -> str:
    """Return the program of the steps: it runs this roost as it was called when the workflow was written."""
    package = str(Path(roost.__file__).resolve().parent.parent)
    search = [package, *(path for path in os.environ.get("PYTHONPATH", "").split(":") if path.startswith("/"))]
    given = {name: os.environ[name] for name in KEPT if os.environ.get(name)}
    given |= {"PATH": os.environ.get("PATH") or os.defpath, "PYTHONPATH": ":".join(dict.fromkeys(search))}
    exports = "".join(f"export {name}={shlex.quote(value)}\n" for name, value in sorted(given.items()))
    return (
        "#!/bin/sh\n"
        f"# step STEP JOB...: a step of the run in this directory, by the roost that wrote it, {roost.__version__}.\n"
        f"cd -- {shlex.quote(str(place.directory))} || exit 3\n"
        f"{exports}"
        f'exec {shlex.quote(sys.executable)} -P -m roost.cli.step "$@"\n'
    )
