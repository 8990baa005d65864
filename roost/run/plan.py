"""The plan of a run, written once for `--resume DIR`: the jobs, their images, the executor.

The jobs are a table, as read from a file by `inv io` and `inv submit`; a column may name each job's image.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path, PurePosixPath
from typing import Any

import roost
from roost.condor.jobs_file import Jobs, variable_of
from roost.errors import ImageError, Problem, RecipeError, UsageError
from roost.host import files, jsontext
from roost.iodisk.batch import INPUTS
from roost.recipe.words import shown
from roost.run import place as places
from roost.run import written
from roost.run.model import Job
from roost.run.place import Place, fit
from roost.run.state import ANEW

SCHEMA = 1
#: Size limit of a plan in bytes; a job has about 200.
LIMIT = 1 << 28
#: The column that names a job, and the column in which a sweep names its image.
NAME = "name"
#: The maximum number of jobs without a name that are reported individually.
PROBLEMS = 100


@dataclass(frozen=True, slots=True)
class Plan:
    """A run: the table of its jobs, the image of jobs whose row names none, the project of recipes, the executor.

    `disk` is the name of the images' io disk, whose column names the jobs. `options` are those of the executor.
    `built` has the checksums of each image's files, by the caller's name: a resumed run must use the same bytes.
    """

    table: Jobs
    image: str | None
    project: Path
    executor: str
    disk: str
    options: Mapping[str, Any] = field(default_factory=dict)
    built: Mapping[str, Mapping[str, str]] = field(default_factory=dict)

    @property
    def column(self) -> str | None:
        """The column of the io disk, if the table has one."""
        return self.table.named(variable_of(self.disk))

    @property
    def images(self) -> tuple[str, ...]:
        """The images of the jobs as the caller names them, each once."""
        table = self.table
        return tuple(dict.fromkeys(table.column(table.image))) if table.image else (self.image or "",)

    @property
    def title(self) -> str:
        """The title of the run: its images."""
        return self.image or ", ".join(self.images)

    def jobs(self) -> tuple[Job, ...]:
        """Return the jobs, row by row; raise `RecipeError` for invalid names.

        A job's name is its column `name`, else the file name of its io disk without the extension, else its
        number.
        """
        table = self.table
        column, named = self.column, table.named(NAME)
        inputs = table.named(INPUTS)
        found, problems = [], []
        for number, row in enumerate(table.rows):
            values = dict(zip(table.variables, row, strict=True))
            name = _name(values, named, column, number, len(table.rows))
            if not fit(name):
                hint = f"the column {named or column} names it: letters, digits and . _ + -"
                problems.append(table.problem(number, f"'{shown(name)}' is not a valid job name", hint))
            image = values.get(table.image or "") or self.image or ""
            cell = (values[inputs],) if inputs else ()
            found.append(Job(name, image, cell, values, table.lines[number]))
        # File names that differ only in case are the same name on some file systems, and in HTCondor's DAGs.
        first: dict[str, int] = {}
        for number, job in enumerate(found):
            other = first.setdefault(job.name.lower(), number)
            if other != number:
                hint = f"the column {named or column} names the jobs: make each name different"
                same = found[other].name == job.name
                alike = " too" if same else f", and {shown(job.name)} differs only by case"
                what = f"the job of line {table.lines[other]} is named {shown(found[other].name)}{alike}"
                if table.lines[other] == table.lines[number]:
                    what, hint = _alike(job, found[other])
                problems.append(table.problem(number, what, hint))
        if len(problems) > PROBLEMS:
            problems[PROBLEMS:] = [
                Problem(f"{len(problems) - PROBLEMS} more jobs of {table.file} have invalid or duplicate names")
            ]
        if problems:
            raise RecipeError(problems)
        return tuple(found)

    def write(self, place: Place) -> None:
        """Write the plan to the directory of the run."""
        places.write(place.plan, (json.dumps(self._said(), indent=1) + "\n").encode())

    def _said(self) -> dict[str, Any]:
        table = self.table
        return {
            "schema": SCHEMA,
            "roost": roost.__version__,
            "image": self.image,
            "project": str(self.project),
            "executor": self.executor,
            "disk": self.disk,
            "options": dict(self.options),
            "built": {name: dict(sums) for name, sums in self.built.items()},
            "file": table.file,
            "directory": str(table.directory),
            "image_column": table.image,
            "variables": list(table.variables),
            "lines": list(table.lines),
            "rows": [list(row) for row in table.rows],
        }

    def differences(self, other: Plan) -> Iterator[str]:
        """Yield the differences between the runs of two plans: in their jobs, their images, their executor."""
        mine, others = self._said(), other._said()
        words = {
            "image": "the image",
            "project": "the project",
            "executor": "who runs the jobs",
            "directory": "the directory of the file of jobs",
            "image_column": "the images of the jobs",
            "variables": "the variables of the jobs",
            "rows": "the jobs",
        }
        yield from (what for key, what in words.items() if mine[key] != others[key])


def _alike(job: Job, other: Job) -> tuple[str, str]:
    """Return the message and hint for two jobs of a sweep that have the same name."""
    apart = [
        name for name, value in job.variables.items() if name not in {NAME, INPUTS} and value != other.variables[name]
    ]
    those = [", ".join(f"{name}={shown(one.variables[name])}" for name in apart[:4]) for one in (other, job)]
    alike = f", which differs from {shown(other.name)} only by case" if job.name != other.name else ""
    what = f"two jobs are named {shown(job.name)}{alike}: that of {those[0]} and that of {those[1]}"
    return what, f"give a `name` that differs with {', '.join(apart[:4])}"


def _name(values: Mapping[str, str], named: str | None, column: str | None, number: int, count: int) -> str:
    if named is not None:
        return values[named]
    if column is not None:
        return PurePosixPath(values[column]).stem
    return f"job-{number + 1:0{len(str(count))}}"


def read(place: Place) -> Plan | None:
    """Return the plan in a directory, or None when it has none; raise `ImageError` when it cannot be read."""
    try:
        data = jsontext.loads(files.read_bytes(place.plan, LIMIT))
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise _unreadable(place, getattr(error, "strerror", None) or str(error)) from error
    if isinstance(data, dict) and isinstance(data.get("schema"), int) and data["schema"] != SCHEMA:
        raise _unreadable(place, f"of another roost: {data.get('roost')}")
    try:
        found = written.checked(written.Plan, data)
    except ValueError as error:
        raise _unreadable(place, str(error)) from error
    table = Jobs(
        found.file,
        tuple(found.variables),
        tuple(map(tuple, found.rows)),
        tuple(found.lines),
        Path(found.directory),
        image=found.image_column,
    )
    options = found.options.model_dump()
    return Plan(table, found.image, Path(found.project), found.executor, found.disk, options, found.built)


def _unreadable(place: Place, why: str) -> ImageError:
    return ImageError(f"{place.plan} is not the plan of a run: {shown(why, 200)}", hint=ANEW)


def relocated(
    table: Jobs, chosen: tuple[int, ...], names: tuple[str, ...], disk: tuple[str, str], place: Place
) -> Jobs:
    """Return the rows `chosen` of a table with the io disks of the run's directory, named after the jobs.

    `disk` is the recipe's name of the io disk, and its format.
    """
    disk_name, suffix = disk
    files = [str(place.disk(names[number], suffix).relative_to(place.directory)) for number in chosen]
    return replace(table.only(chosen).with_column(variable_of(disk_name), files), directory=place.directory)


def refuse_other(plan: Plan, earlier: Plan, place: Place) -> None:
    """Raise `UsageError` when a directory contains a run other than the requested one."""
    different = list(plan.differences(earlier))
    if different:
        what = f"{place.directory} holds another run, which differs in {', '.join(different)}"
        raise UsageError(what, hint=f"inv run --resume {place.directory} for that one, or name another directory")
