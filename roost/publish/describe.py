"""Submit descriptions of a published image: the recipe's own, its files taken from where the catalogue has them.

Published files never change, so no job may write into them: whatever the transfer, each job gets copies of the disks.
`files` takes them from beside the description, `shared` from their absolute paths, a URL from below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from roost.condor import emit
from roost.condor.description import describe
from roost.condor.from_recipe import BuiltFiles
from roost.condor.jobs_file import read_jobs
from roost.condor.placement import kernel_of
from roost.errors import RecipeError, UsageError
from roost.host import safetext
from roost.publish.layout import ReleaseFile
from roost.recipe.model import Hypervisor, Recipe


def sources(files: Sequence[ReleaseFile], root: str | None) -> dict[str, str]:
    """Return where a job takes each file from, by its name in the sandbox; `root` is the catalogue's URL or path.

    Without a root the files lie beside the description.
    """
    return {file.name: f"{root.rstrip('/')}/{file.path}" if root is not None else file.name for file in files}


def kernel_is_found(recipe: Recipe, hypervisor: Hypervisor, root: str | None) -> bool:
    """Return whether a machine can start the image from a catalogue at `root`: xen takes kernel files by path only."""
    if kernel_of(recipe, hypervisor) is None or recipe.submit.kernel_path is not None:
        return True
    return root is not None and root.startswith("/")


def submit_description(
    recipe: Recipe,
    hypervisor: Hypervisor,
    files: Sequence[ReleaseFile],
    root: str | None,
    *,
    remarks: Sequence[str] = (),
    jobs: Path | None = None,
    snippet: bool = False,
    templates: Sequence[Path] = (),
    at: Path | None = None,
) -> str:
    """Return the description of a published image, or with `snippet` only the lines about its disks.

    `remarks` become comments at its head. Raises `RecipeError` when the recipe does not allow it or the lint calls any
    of it an error, `UsageError` for a hypervisor that the image is not made for.
    """
    whole, lines = descriptions(recipe, hypervisor, files, root, remarks=remarks, jobs=jobs, templates=templates, at=at)
    return lines if snippet else whole


def descriptions(
    recipe: Recipe,
    hypervisor: Hypervisor,
    files: Sequence[ReleaseFile],
    root: str | None,
    *,
    remarks: Sequence[str] = (),
    jobs: Path | None = None,
    templates: Sequence[Path] = (),
    at: Path | None = None,
) -> tuple[str, str]:
    """Return the description and its lines about disks; see `submit_description`."""
    if hypervisor not in recipe.hypervisors:
        made = ", ".join(recipe.hypervisors)
        raise UsageError(f"{recipe.name} is not made for {hypervisor}", hint=f"its hypervisors are {made}")
    places: Mapping[str, str] = sources(files, root)
    built = BuiltFiles(
        None,
        {file.name: file.virtual for file in files},
        {file.name: file.backing for file in files if file.backing},
        kernels={file.name: places[file.name] for file in files if places[file.name].startswith("/")},
    )
    table = read_jobs(jobs) if jobs else None
    values = describe(recipe, hypervisor, transfer="files", files=built, jobs=table, at=at)
    values = replace(values, inputs=tuple(places.get(item, item) for item in values.inputs))
    whole = emit.render(values, "submit.j2", templates)
    emit.judge(whole, f"{hypervisor}.sub")
    head = "".join(f"# {_comment(remark)}\n" for remark in remarks)
    return head + whole, head + emit.render(values, "snippet.j2", templates)


def _comment(remark: str) -> str:
    # A backslash at its end would make the next line a part of the comment.
    return safetext.printable(remark, " ").rstrip(" \\")


def by_transfer(
    recipe: Recipe,
    hypervisor: Hypervisor,
    files: Sequence[ReleaseFile],
    roots: Mapping[str, str | None],
    remarks: Sequence[str],
    templates: Sequence[Path],
) -> dict[str, dict[str, str]]:
    """Return, by transfer (files, shared, url), the description and its snippet, or why it is refused."""
    found = {}
    for transfer, root in roots.items():
        try:
            whole, snippet = descriptions(recipe, hypervisor, files, root, remarks=remarks, templates=templates)
            found[transfer] = {"description": whole, "snippet": snippet}
        except RecipeError as error:
            found[transfer] = {"refused": "; ".join(problem.what for problem in error.problems)}
    return found
