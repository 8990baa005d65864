"""The files of a submission as named from the directory of the description. Pure.

condor_submit resolves relative names against the directory it runs in. A description beside the images keeps relative
names; anywhere else the names become absolute paths, which stay valid wherever the description is moved.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from roost.condor.from_recipe import is_url
from roost.condor.jobs_file import Jobs, variable_of
from roost.errors import Problem
from roost.recipe.model import Recipe

_CARRIED = re.compile(r"[A-Za-z0-9._+/-]+")


def elsewhere(directory: Path | None, at: Path | None) -> Path | None:
    """Return `directory` if its files need absolute paths, because the description at `at` is not in it; else None."""
    return directory if directory is not None and at is not None and directory != at else None


def item(name: str, directory: Path | None) -> str:
    """Return an item of transfer_input_files: a relative name becomes a path below `directory`, if there is one."""
    return name if directory is None or is_url(name) or name.startswith(("/", "$(")) else f"{directory}/{name}"


def placed(jobs: Jobs, recipe: Recipe, at: Path | None) -> Jobs:
    """Return the jobs with their disks named by paths, if the description at `at` is not beside the file of jobs."""
    directory = elsewhere(jobs.directory, at)
    columns = {jobs.named(variable_of(disk.name)) for disk in recipe.disks}
    if directory is None:
        return jobs
    rows = tuple(
        tuple(
            item(value, directory) if name in columns else value
            for name, value in zip(jobs.variables, row, strict=True)
        )
        for row in jobs.rows
    )
    return replace(jobs, rows=rows, sizes={item(name, directory): size for name, size in jobs.sizes.items()})


def problems(directories: Iterable[Path | None], at: Path | None) -> Iterator[Problem]:
    """Yield the directories that a description at `at` must name but HTCondor's lists cannot express."""
    for directory in (elsewhere(directory, at) for directory in directories):
        if directory is not None and not _CARRIED.fullmatch(str(directory)):
            what = f"the directory {str(directory)!r} has characters that HTCondor's list of files cannot carry"
            yield Problem(what, hint="run condor_submit in it, with a description that is written there")


def remarks(directories: Iterable[Path], here: Path) -> list[str]:
    """Return the note for a description with an unknown destination: the directory its names start from."""
    needed = set(directories)
    if needed <= {here}:
        return []
    names = " and ".join(sorted(map(str, needed)))
    return [f"The names of files start from {names}: submit there, or write this with -o FILE, which gives paths."]
