"""The submit description of a run's jobs: what `inv submit` writes, with the disks and names of the run's directory.

The io disk that comes back has the job's name and number in `returned/`, and the job's ClassAd says which run and which
job it is, so that both are found again whatever happened to whoever submitted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from roost.condor import dag_writer, emit, jobs_rows, policy, submission, submit_values
from roost.condor.access_point import JOB, RUN
from roost.condor.jobs_file import Jobs, variable_of
from roost.condor.submit_values import Delivery, SubmitValues
from roost.errors import Location, RecipeError
from roost.host import paths
from roost.recipe.hypervisor import Hypervisor
from roost.run.model import Image
from roost.run.place import Place
from roost.store.manifest import BuiltFile

#: The variable of a job's name.
NAME = f"{jobs_rows.PREFIX}job"
#: Columns that speak to DAGMan: as VARS they would be commands of the description, too.
NODES = frozenset({"priority"})


@dataclass(frozen=True, slots=True)
class How:
    """What the caller says of the machines: `hypervisor` (None: the recipe's first), and how long one may run.

    `timeout` is in seconds; None is the job's own and the recipe's margin.
    """

    hypervisor: Hypervisor | None = None
    timeout: float | None = None


ANYHOW = How()


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to describe: an image of a run and the files of its build, the token of the submission, the event log.

    `rows` are those of `image.jobs`. `log` starts from the run's directory, and may hold `$(NAME)`.
    """

    image: Image
    files: Sequence[BuiltFile]
    rows: Sequence[int]
    token: str
    log: str
    how: How = ANYHOW


def describe(wanted: Wanted, place: Place) -> SubmitValues:
    """Return the values of the description; raise `RecipeError` with all that forbids it."""
    image = wanted.image
    recipe, transfer = image.loaded.recipe, image.loaded.recipe.submit.transfer
    disk = image.disk
    hypervisor = wanted.how.hypervisor or recipe.hypervisors[0]
    submit_values.require_made_for(recipe, hypervisor)
    # Without its io disk nobody knows what became of a job.
    returns = recipe.submit.returns if disk.name in recipe.submit.returns else (*recipe.submit.returns, disk.name)
    submit = recipe.submit.model_copy(update={"returns": returns, "no_output": False})
    names = [image.jobs[number].name for number in wanted.rows]
    table = image.table.only(wanted.rows)
    variable = variable_of(disk.name)
    column = table.named(variable)
    if transfer == "shared":
        table = table.with_column(variable, [str(place.directory / name) for name in table.column(column or "")])
    delivery = Delivery(
        files=submission.built_files(wanted.files, image.loaded.build),
        jobs=table,
        output_directory=place.returned.name,
        where=image.loaded.where,
        at=place.directory,
    )
    values = submit_values.describe(recipe.model_copy(update={"submit": submit}), hypervisor, delivery)
    own = f"{place.returned.name}/$({NAME})-$(Cluster).$(Process).{disk.format}"
    remaps = tuple((name, own if name == f"$Fnx({column})" else other) for name, other in values.remaps)
    if wanted.how.timeout is not None:
        bound = math.ceil(wanted.how.timeout)
        values = replace(values, bound=bound, periodic_remove=policy.late(bound))
    return replace(
        values,
        log=wanted.log,
        remaps=remaps,
        attributes=(*values.attributes, (RUN, f'"{wanted.token}"'), (JOB, f'"$({NAME})"')),
        variables=(*values.variables, NAME),
        rows=tuple((*row, name) for row, name in zip(values.rows, names, strict=True)),
    )


def cluster(values: SubmitValues) -> str:
    """Return the description that makes one cluster of all the jobs."""
    text = emit.render(values, "submit.j2", _templates())
    emit.judge(text, "the description of the jobs")
    return text


@dataclass(frozen=True, slots=True)
class ForNodes:
    """One description for the nodes of a DAG, whose macros are the nodes' VARS: one mapping for each row."""

    text: str
    variables: tuple[Mapping[str, str], ...]


def for_nodes(values: SubmitValues, held: int, table: Jobs) -> ForNodes:
    """Return the description of a DAG's nodes; `table` says where each row stands in the file of jobs.

    A job that is held for `held` seconds is removed: DAGMan would wait for it for ever. Raises `RecipeError` for
    values that neither VARS nor a description can carry.
    """
    stuck = policy.stuck(held)
    removed = f"({values.periodic_remove}) || ({stuck})" if values.periodic_remove else stuck
    values = replace(values, periodic_remove=removed)
    text = emit.render(replace(values, rows=(), variables=()), "submit.j2", _templates())
    used = jobs_rows.uses(text.splitlines())
    where = [Location(table.file, line) for line in table.lines]
    problems = list(jobs_rows.problems(values.variables, values.rows, used, where))
    if problems:
        raise RecipeError(problems)
    found = []
    for row in values.rows:
        given = {}
        for name, value in zip(values.variables, row, strict=True):
            if name.lower() in NODES:
                continue
            use = used.get(name.lower(), frozenset())
            if use or (dag_writer.carries(name, value) and "$$" not in value):
                given[name] = jobs_rows.encoded(value, use)
        found.append(given)
    first = "".join(f"{name} = {value}\n" for name, value in found[0].items()) if found else ""
    emit.judge(first + text, "the description of the jobs")
    return ForNodes(text, tuple(found))


def _templates() -> tuple[Path, ...]:
    return emit.template_directories(paths.project_root())
