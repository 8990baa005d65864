"""The submit description of a run's jobs: as `inv submit` writes it, with the disks and names of the run's directory.

The returned io disk is `returned/` plus the job's name and number, and the job's ClassAd names the run and the
job, so that both can be found again even if the submitter was interrupted.
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
#: Columns for DAGMan: as VARS they would also become commands of the description.
NODES = frozenset({"priority"})


@dataclass(frozen=True, slots=True)
class How:
    """The caller's choices for the machines: `hypervisor` (None: the recipe's first), and how long one may run.

    `timeout` is in seconds; None means the job's timeout plus the recipe's margin.
    """

    hypervisor: Hypervisor | None = None
    timeout: float | None = None


ANYHOW = How()


@dataclass(frozen=True, slots=True)
class Wanted:
    """The subject of a description: an image and the files of its build, the token of the submission, the event log.

    `rows` are those of `image.jobs`. `log` is relative to the run's directory and may contain `$(NAME)`.
    """

    image: Image
    files: Sequence[BuiltFile]
    rows: Sequence[int]
    token: str
    log: str
    how: How = ANYHOW


def describe(wanted: Wanted, place: Place) -> SubmitValues:
    """Return the values of the description; raise `RecipeError` with every reason against it."""
    image = wanted.image
    recipe, transfer = image.loaded.recipe, image.loaded.recipe.submit.transfer
    disk = image.disk
    hypervisor = wanted.how.hypervisor or recipe.hypervisors[0]
    submit_values.require_made_for(recipe, hypervisor)
    # The result of a job is only known from its io disk.
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
    """Return the description that submits all jobs as one cluster."""
    text = emit.render(values, "submit.j2", _templates())
    emit.judge(text, "the description of the jobs")
    return text


@dataclass(frozen=True, slots=True)
class ForNodes:
    """One description for the nodes of a DAG, whose macros are the nodes' VARS: one mapping for each row."""

    text: str
    variables: tuple[Mapping[str, str], ...]


def for_nodes(values: SubmitValues, held: int, table: Jobs) -> ForNodes:
    """Return the description of a DAG's nodes; `table` has the location of each row in the file of jobs.

    A job that is held for `held` seconds is removed, since DAGMan would wait for it forever. Raises `RecipeError` for
    values that neither VARS nor a description can express.
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
