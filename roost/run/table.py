"""Read a file of jobs, CSV or a sweep, as the table that all tasks use."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from roost.condor import jobs_file
from roost.condor.jobs_file import Jobs, variable_of
from roost.errors import Problem, RecipeError, UsageError
from roost.host import causes, confined, files
from roost.iodisk.batch import INPUTS
from roost.recipe.loader import SUFFIXES, absolute
from roost.recipe.model import Recipe
from roost.recipe.parse import MAX_BYTES
from roost.recipe.words import did_you_mean, shown
from roost.run import sweep as sweeps
from roost.run.sweep import IMAGE, NAME, Sweep, Text

_WORKER = "roost.run.sweep_worker"
#: The number of jobs that one child renders the templates of: its CPU time is limited.
_ROWS = 5_000


def read(path: Path) -> Jobs:
    """Read a file of jobs: a sweep if its name has the extension of a recipe, else comma-separated values.

    Raises `RecipeError` with every mistake in it, `UsageError` when it cannot be read.
    """
    if path.suffix not in SUFFIXES:
        return jobs_file.read_jobs(path)
    try:
        data = files.read_bytes(path, MAX_BYTES)
    except OSError as error:
        hint = causes.hint(error) or "give a sweep or a CSV file"
        raise UsageError(files.unreadable(path, error), hint=hint) from error
    return jobs_file.with_sizes(expand(sweeps.read(data, str(path)), str(path), path.absolute().parent))


def expand(sweep: Sweep, file: str, directory: Path) -> Jobs:
    """Return the jobs of a sweep as a table; raise `RecipeError` when a template cannot be rendered.

    The columns are the axes, the variables, `inputs` if there are any, and `name`.
    """
    rows = list(sweep.combinations())
    texts = [*sweep.variables.values(), *(sweep.inputs or ()), *([sweep.name] if sweep.name else [])]
    variables = (*sweep.axes, *sweep.variables, *([INPUTS] if sweep.inputs is not None else []), NAME)
    table = []
    for values, made in zip(rows, _rendered(sweep, rows, texts), strict=True):
        cells = made[: len(sweep.variables)]
        if sweep.inputs is not None:
            # An input whose template renders to nothing is dropped.
            given = [one for one in made[len(sweep.variables) :][: len(sweep.inputs)] if one]
            cells.append(shlex.join(given))
        table.append((*values, *cells, made[-1] if sweep.name else sweeps.default_name(values)))
    line = sweep.where.line
    image = IMAGE if IMAGE in sweep.axes else None
    return Jobs(file, variables, tuple(table), (line,) * len(table), directory, image=image)


def _rendered(sweep: Sweep, rows: Sequence[tuple[str, ...]], texts: Sequence[Text]) -> Iterator[list[str]]:
    """Yield the rendered texts for each job."""
    templates = [text for text in texts if not text.constant]
    answers = _answers(sweep, rows, templates) if templates else itertools.repeat([], len(rows))
    for answer in answers:
        left = iter(answer)
        yield [text.text if text.constant else next(left).strip() for text in texts]


def _answers(sweep: Sweep, rows: Sequence[tuple[str, ...]], templates: Sequence[Text]) -> Iterator[list[str]]:
    axes = list(sweep.axes)
    for begin in range(0, len(rows), _ROWS):
        some = rows[begin : begin + _ROWS]
        request = {"sources": [one.text for one in templates], "axes": axes, "rows": some}
        replies = confined.ask(_WORKER, request)
        for number, values in enumerate(some):
            answer: dict[str, Any] = (
                replies[number] if number < len(replies) else {"what": "the templates need too much time or memory"}
            )
            if "texts" not in answer:
                where = templates[answer["template"]].where if "template" in answer else sweep.where
                which = ", ".join(f"{axis}={shown(value)}" for axis, value in zip(axes, values, strict=True))
                hint = did_you_mean(_unknown(answer["what"]), axes) if _unknown(answer["what"]) else None
                raise RecipeError([Problem(f"{shown(answer['what'], 300).rstrip('.')}, for {which}", where, hint)])
            yield list(answer["texts"])


def _unknown(what: str) -> str:
    """Return the name that jinja2 reports as undefined, or an empty string."""
    return what.split("'")[1] if what.startswith("'") and what.endswith("' is undefined") else ""


def for_image(table: Jobs, called: str, recipe: Recipe) -> Jobs:
    """Return the jobs of a table that run on one image: all, unless a column names each job's.

    A sweep does not name io disks: they get the names of its jobs. Raises `RecipeError` when the image has no job.
    """
    if table.image is not None:
        at = table.variables.index(table.image)
        own = {called, recipe.name, str(absolute(Path(called)))}
        chosen = [n for n, row in enumerate(table.rows) if row[at] in own or str(table.directory / row[at]) in own]
        if not chosen:
            images = dict.fromkeys(table.column(table.image))
            what = f"no job runs on {shown(called)}"
            raise RecipeError([table.problem(0, what, did_you_mean(called, images))])
        table = table.only(chosen)
    return with_disks(table, recipe)


def with_disks(table: Jobs, recipe: Recipe) -> Jobs:
    """Return a sweep's table with a column for the recipe's io disk, if it has one."""
    disk = recipe.io_disk
    if table.named(NAME) is None or disk is None or table.named(variable_of(disk.name)) or not is_sweep(table):
        return table
    return table.with_column(variable_of(disk.name), [f"{name}.{disk.format}" for name in table.column(NAME)])


def is_sweep(table: Jobs) -> bool:
    """Return whether a table came from a sweep."""
    return Path(table.file).suffix in SUFFIXES
