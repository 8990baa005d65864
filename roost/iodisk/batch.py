"""Many io disks from a file of jobs, which `inv submit --jobs` reads, too.

The column of the io disk names the file to write; `inputs` names its inputs, separated by blanks (quoted where
a name contains one); the other columns are passed to the job in input/job.json.
"""

from __future__ import annotations

import json
import os
import shlex
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.condor.jobs_check import check_jobs
from roost.condor.jobs_file import Jobs, variable_of
from roost.errors import Location, Problem, RecipeError
from roost.iodisk import inputs, make, replaceable
from roost.iodisk.inputs import Input, Room
from roost.recipe.model import Recipe
from roost.recipe.words import shown

#: Called with the number of rows done and the total number of rows.
Progress = Callable[[int, int], None]

INPUTS = "inputs"
PARAMETERS = "job.json"


@dataclass(frozen=True, slots=True)
class DiskRequest:
    """One disk to make: its path, its inputs, and generated text files."""

    output: Path
    items: tuple[Input, ...]
    texts: dict[str, bytes]


def nowhere(_done: int, _total: int) -> None:
    """Discard a progress report."""


def checked(
    jobs: Jobs,
    recipe: Recipe,
    common: Sequence[Input] = (),
    transfer: str | None = None,
    progress: Progress = nowhere,
) -> tuple[DiskRequest, ...]:
    """Return the disk of each row, after validating all rows for their disks and for their submission.

    Raises `RecipeError` with every mistake, `ImageError` as soon as inputs are known not to fit. `transfer` is that of
    the description, by default the recipe's.
    """
    disk = make.disk_of(recipe)
    problems: list[Problem] = []
    found: tuple[DiskRequest, ...] = ()
    try:
        check_jobs(jobs, recipe, transfer)
    except RecipeError as error:
        problems += error.problems
    try:
        found = requests(jobs, disk.name, common, disk.areas[0].size, progress)
    except RecipeError as error:
        problems += error.problems
    except inputs.TooMuchError as error:
        raise make.too_many(recipe, error.where) from error
    if problems:
        raise RecipeError(sorted(dict.fromkeys(problems), key=lambda one: one.where.line if one.where else 0))
    return found


def check(jobs: Jobs, recipe: Recipe, transfer: str | None, progress: Progress = nowhere) -> None:
    """Raise as `checked` does for the rows that get their own io disk: `submit` is as strict as `io`.

    Without a column for the disk all jobs share one, so per-job inputs are a mistake.
    """
    disk = recipe.io_disk
    if disk is None:
        return
    if jobs.named(variable_of(disk.name)) is not None:
        checked(jobs, recipe, transfer=transfer, progress=progress)
    elif jobs.named(INPUTS) is not None:
        raise RecipeError([_no_column(jobs, disk.name, "; `inv run` makes the disks and names them itself")])


def requests(
    jobs: Jobs, disk: str, common: Sequence[Input], size: int | None = None, progress: Progress = nowhere
) -> tuple[DiskRequest, ...]:
    """Return the disk of each row; raise `RecipeError` with every mistake. `common` items are put on every disk.

    `size` is the size of the disks in bytes, if fixed: raises `inputs.TooMuchError` for a row that exceeds it.
    """
    column = jobs.named(variable_of(disk))
    if column is None:
        raise RecipeError([_no_column(jobs, disk)])
    found: list[DiskRequest] = []
    problems: list[Problem] = []
    taken: dict[Path, int] = {}
    sources = make.bases(common)
    for number, name in enumerate(jobs.column(column)):
        if number % 1000 == 0:
            progress(number, len(jobs.rows))
        output = jobs.directory / name
        if output == jobs.directory or os.path.isdir(output):  # noqa: PTH112
            problems.append(jobs.problem(number, f"the column {column} names no file"))
        elif output in taken:
            problems.append(jobs.problem(number, f"{output.name} is the disk of line {taken[output]} already"))
        elif wrong_place := replaceable.problem_of(output):
            hint = f"the column {column} names the disk to write, such as io-1.raw; the inputs are named in {INPUTS}"
            problems.append(jobs.problem(number, f"{shown(str(output), 200)} {wrong_place}", hint))
        taken[output] = jobs.lines[number]
        every, texts, wrong = content(jobs, number, column, common, size)
        problems += wrong
        sources |= make.bases(every[len(common) :])
        found.append(DiskRequest(output, every, texts))
    for number, one in enumerate(found):
        if unwritable := make.output_problem(one.output, sources):
            problems.append(jobs.problem(number, *unwritable))
    if problems:
        raise RecipeError(problems)
    return tuple(found)


def _no_column(jobs: Jobs, disk: str, more: str = "") -> Problem:
    what = f"there is no column {variable_of(disk)} for the disk {disk}"
    return Problem(what, Location(jobs.file, 1), f"it names the file of each job's io disk, such as io-1.raw{more}")


def content(
    jobs: Jobs, number: int, column: str | None, common: Sequence[Input], size: int | None = None
) -> tuple[tuple[Input, ...], dict[str, bytes], list[Problem]]:
    """Return the contents of the disk of row `number` (items, text files) and the problems with them.

    `column` is the column of the disk's file. Raises `inputs.TooMuchError` as `requests` does.
    """
    values = dict(zip(jobs.variables, jobs.rows[number], strict=True))
    if column is not None:
        del values[column]
    where = Location(jobs.file, jobs.lines[number])
    chosen, wrong = _inputs(jobs, values, where, size)
    texts = {PARAMETERS: (json.dumps(values, indent=2) + "\n").encode()} if values else {}
    every = (*common, *chosen)
    names = [item.target for item in every] + list(texts)
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice and not wrong:
        wrong.append(Problem(f"two inputs are named {twice[0]}", where, "rename one"))
    return every, texts, wrong


def _inputs(jobs: Jobs, values: dict[str, str], where: Location, size: int | None) -> tuple[list[Input], list[Problem]]:
    name = next((name for name in values if name.lower() == INPUTS), None)
    if name is None:
        return [], []
    value = values.pop(name)
    try:
        names = shlex.split(value)
    except ValueError as error:
        hint = "close the quotes; a name with a quote in it goes in quotes of the other kind"
        what = "ends in a backslash" if "escape" in str(error) else "has a quote that is not closed"
        return [], [Problem(f"'{shown(value)}' {what}", where, hint)]
    found, problems = inputs.items(names, jobs.directory, where, None if size is None else Room.of(size))
    # lexists: a cell with many inputs may exceed the length limit of names.
    if problems and names != [value] and os.path.lexists(jobs.directory / value):
        what = f"'{shown(value)}' is the name of one file, and blanks separate inputs"
        if len(names) == 1:
            what = f"'{shown(value)}' has quotes or \\ in its name, which are read as a shell reads them"
        return [], [Problem(what, where, f"put it in single quotes: {shown(shlex.quote(value))}")]
    return found, problems
