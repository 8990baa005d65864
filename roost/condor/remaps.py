"""The names of returned disks: `return_as`, or transfer_output_remaps among the recipe's commands. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from roost.condor.placement import Where, vm_disks
from roost.errors import Problem
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe
from roost.recipe.submit import returned_name

COMMAND = "transfer_output_remaps"


def chosen(recipe: Recipe, hypervisor: Hypervisor) -> dict[str, str]:
    """Return the names that the recipe chooses, by disk."""
    _, value = _command(recipe)
    files = {disk.file: name for name, disk in vm_disks(recipe, hypervisor).items()}
    renamed = {files[file]: new for file, new in _pairs(value) if file in files}
    return {**renamed, **recipe.submit.return_as}


def problems(recipe: Recipe, hypervisor: Hypervisor, transfer: str, where: Where) -> Iterator[Problem]:
    """Yield problems with the names: disks that are not returned, overwritten files, one name for two disks."""
    submit = recipe.submit
    command, value = _command(recipe)
    files = {disk.file: name for name, disk in vm_disks(recipe, hypervisor).items()}
    places = {name: where(("submit", "return_as", name)) for name in submit.return_as}
    at = where(("submit", "commands", command))
    for file, new in _pairs(value):
        name = files.get(file)
        if name is None or name not in submit.returns:
            what = f"{COMMAND} names {file or 'nothing'}, which does not come back"
            yield Problem(what, at, 'return: [io] and "io.raw = NAME", or return_as: {io: NAME}')
            continue
        if name in submit.return_as:
            yield Problem(f"the disk {name} has a name in return_as already", at, "remove one of the two")
        try:
            returned_name(new)
        except ValueError as error:
            yield Problem(str(error), at)
        places.setdefault(name, at)
    taken: dict[str, str] = {}
    for name, new in chosen(recipe, hypervisor).items():
        key = places.get(name)
        if transfer == "shared":
            yield Problem("return_as has no effect: a shared disk changes where it is", key, "remove it")
        if new.removeprefix("./") in files:
            what = f"the returned disk {name} would overwrite the submitted {new}"
            yield Problem(what, key, f"such as {name}-$(Cluster).$(Process).raw")
        if new in taken:
            yield Problem(f"the disks {taken[new]} and {name} come back under one name", key, "name each differently")
        taken[new] = name


def _command(recipe: Recipe) -> tuple[str, str]:
    """Return the command as written and its value, both empty where it is not set."""
    found = [(name, value) for name, value in recipe.submit.commands.items() if name.lower() == COMMAND]
    return found[0] if found else ("", "")


def _pairs(value: str) -> list[tuple[str, str]]:
    """Return the names in the sandbox and the new ones: `"a = b; c = d"` (HTCondor manual, condor_submit)."""
    parts = [part.partition("=") for part in value.strip().strip('"').split(";") if part.strip()]
    return [(file.strip(), new.strip()) for file, _, new in parts]
