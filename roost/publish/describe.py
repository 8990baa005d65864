"""Submit descriptions of a published image: the recipe's own, with the files taken from the catalogue.

Published files never change, so jobs must not write to them: with every transfer, each job gets copies of the disks.
`files` takes them from beside the description, `shared` from their absolute paths, a URL from below it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from roost.condor import emit
from roost.condor.from_recipe import BuiltFiles
from roost.condor.jobs_file import Jobs
from roost.condor.placement import kernel_of
from roost.condor.submit_values import Delivery, describe, require_made_for
from roost.errors import RecipeError
from roost.host import safetext
from roost.publish.layout import ReleaseFile
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe


@dataclass(frozen=True, slots=True)
class ReleasedImage:
    """A published image; `root` is the catalogue's URL or path, None: its files are beside the description."""

    recipe: Recipe
    files: Sequence[ReleaseFile]
    root: str | None = None


class Texts(NamedTuple):
    """A submit description, and its lines about disks alone."""

    description: str
    snippet: str


def sources(files: Sequence[ReleaseFile], root: str | None) -> dict[str, str]:
    """Return the source of each file, by its name in the sandbox; `root` is the catalogue's URL or path.

    Without a root the files are beside the description.
    """
    return {file.name: f"{root.rstrip('/')}/{file.path}" if root is not None else file.name for file in files}


def kernel_is_found(recipe: Recipe, hypervisor: Hypervisor, root: str | None) -> bool:
    """Return whether a machine can start the image from a catalogue at `root`: xen needs kernel files by path."""
    if kernel_of(recipe, hypervisor) is None or recipe.submit.kernel_path is not None:
        return True
    return root is not None and root.startswith("/")


def descriptions(
    published: ReleasedImage,
    hypervisor: Hypervisor,
    *,
    remarks: Sequence[str] = (),
    jobs: Jobs | None = None,
    templates: Sequence[Path] = (),
    at: Path | None = None,
) -> Texts:
    """Return the description of a published image: as a whole, and only the lines about its disks.

    `remarks` become comments at its top, `at` is the directory of the description. Raises `RecipeError` when the
    recipe does not allow it or the lint finds an error, `UsageError` for a hypervisor that the image is not
    made for.
    """
    recipe = published.recipe
    require_made_for(recipe, hypervisor)
    places: Mapping[str, str] = sources(published.files, published.root)
    built = BuiltFiles(
        None,
        {file.name: file.virtual for file in published.files},
        {file.name: file.backing for file in published.files if file.backing},
        kernels={file.name: places[file.name] for file in published.files if places[file.name].startswith("/")},
    )
    values = describe(recipe, hypervisor, Delivery("files", built, jobs, at=at))
    values = replace(values, inputs=tuple(places.get(item, item) for item in values.inputs))
    whole = emit.render(values, "submit.j2", templates)
    emit.judge(whole, f"{hypervisor}.sub")
    head = "".join(f"# {_comment(remark)}\n" for remark in remarks)
    return Texts(head + whole, head + emit.render(values, "snippet.j2", templates))


def _comment(remark: str) -> str:
    # A backslash at its end would continue the comment on the next line.
    return safetext.printable(remark, " ").rstrip(" \\")


def by_transfer(
    published: ReleasedImage,
    hypervisor: Hypervisor,
    roots: Mapping[str, str | None],
    remarks: Sequence[str],
    templates: Sequence[Path],
) -> dict[str, dict[str, str]]:
    """Return, by transfer (files, shared, url), the description and its snippet, or why it is refused."""
    found = {}
    for transfer, root in roots.items():
        try:
            texts = descriptions(replace(published, root=root), hypervisor, remarks=remarks, templates=templates)
            found[transfer] = texts._asdict()
        except RecipeError as error:
            found[transfer] = {"refused": "; ".join(problem.what for problem in error.problems)}
    return found
