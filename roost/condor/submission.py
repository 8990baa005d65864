"""From a built image to a submission: the machine, and the submit descriptions beside the image."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from roost.condor import emit, from_recipe, origins, submit_values
from roost.condor.emit import Emitted
from roost.condor.from_recipe import BuiltFiles
from roost.condor.machine import VirtualMachine
from roost.condor.submit_values import Delivery
from roost.errors import RecipeError
from roost.host import paths, safetext
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.loader import Loaded
from roost.store.manifest import BuiltFile, Manifest


def built_files(files: Sequence[BuiltFile], directory: Path | None) -> BuiltFiles:
    """Return the properties of a build that the emitter needs: directory, sizes seen by the guest, overlays, bases."""
    return BuiltFiles(
        directory.absolute() if directory else None,
        {file.name: file.virtual for file in files},
        {file.name: file.backing for file in files if file.backing is not None},
        next((file.root for file in files if file.root is not None), None),
    )


def machine(loaded: Loaded, hypervisor: Hypervisor, record: Manifest, directory: Path) -> VirtualMachine:
    """Return the machine of a built image."""
    return from_recipe.virtual_machine(loaded.recipe, hypervisor, files=built_files(record.files, directory))


def describe(
    loaded: Loaded,
    files: Sequence[BuiltFile],
    hypervisor: Hypervisor,
    directory: Path,
    delivery: Delivery | None = None,
) -> Emitted:
    """Return the submit description of an image.

    `delivery` is how jobs get the image; its files and the locations of the recipe's keys are filled in here.
    Raises `UsageError` for a hypervisor that the image is not made for, `RecipeError` for what the recipe forbids.
    """
    recipe = loaded.recipe
    submit_values.require_made_for(recipe, hypervisor)
    templates = emit.template_directories(paths.project_root())
    return emit.submit_description(recipe, hypervisor, _filled(delivery, loaded, files, directory), templates=templates)


def _filled(delivery: Delivery | None, loaded: Loaded, files: Sequence[BuiltFile], directory: Path) -> Delivery:
    return replace(delivery or Delivery(), files=built_files(files, directory), where=loaded.where)


def place_of(output: Path | None) -> Path | None:
    """Return the directory that a description is written to, by `output` or a shell's `>`.

    Return None if standard output is a terminal or a pipe.
    """
    if output is not None:
        return output.parent.resolve()
    try:
        descriptor = sys.stdout.fileno()
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            return None
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        return path.parent if path.is_file() else None
    except (OSError, ValueError):
        return None


def told(text: str, directory: Path, jobs: Path | None, transfer: str) -> str:
    """Return a description with a comment that names the directory of its relative names, if it is not this one.

    `directory` is that of the image; `jobs` is the file of jobs, whose disks are named relative to it.
    """
    directories = [directory.resolve()] if transfer == "files" else []
    directories += [jobs.absolute().parent.resolve()] if jobs and transfer != "shared" else []
    remarks = origins.remarks(directories, Path.cwd())
    return "".join(f"# {safetext.printable(remark, '?')}\n" for remark in remarks) + text


#: The names that submit descriptions of an image can have, without .sub.
NAMES = ("kvm", "xen", "xen-files", "xen-included")


def descriptions(loaded: Loaded, files: Sequence[BuiltFile], directory: Path) -> dict[str, Emitted]:
    """Return the submit descriptions of an image by their names without .sub: kvm, xen, or both.

    An image with its kernel both inside and beside it has two for xen: xen follows submit.xen_kernel, and
    xen-files or xen-included is the other, unless HTCondor could not start it.
    """
    found: dict[str, Emitted] = {name: describe(loaded, files, name, directory) for name in loaded.recipe.hypervisors}
    for name, other in _other(loaded):
        with suppress(RecipeError):
            found[name] = describe(other, files, "xen", directory)
    return found


def _other(loaded: Loaded) -> Iterator[tuple[str, Loaded]]:
    """Yield the name of the other description for xen and the recipe changed for it, if there is one."""
    if "xen" in loaded.recipe.hypervisors and loaded.recipe.kernel.placement == "both":
        kernel = "included" if loaded.recipe.submit.xen_kernel == "files" else "files"
        # kernel_path applies to a kernel file only.
        changes = {"xen_kernel": kernel, **({"kernel_path": None} if kernel == "included" else {})}
        submit = loaded.recipe.submit.model_copy(update=changes)
        yield f"xen-{kernel}", replace(loaded, recipe=loaded.recipe.model_copy(update={"submit": submit}))


def snippets(loaded: Loaded, record: Manifest, directory: Path) -> dict[str, str]:
    """Return the lines to paste, by description, of an image whose descriptions were linted when it was built."""
    templates = emit.template_directories(paths.project_root())
    wanted: list[tuple[str, Hypervisor, Loaded]] = [(name, name, loaded) for name in loaded.recipe.hypervisors]
    wanted += [(name, "xen", other) for name, other in _other(loaded) if (directory / f"{name}.sub").exists()]
    return {
        name: emit.snippet(
            submit_values.describe(one.recipe, hypervisor, _filled(None, one, record.files, directory)), templates
        )
        for name, hypervisor, one in wanted
    }


def write(loaded: Loaded, files: Sequence[BuiltFile], target: Path, directory: Path) -> dict[str, str]:
    """Write the image's submit descriptions, kvm.sub and xen.sub, to `target`, which becomes `directory`.

    Return the lines to paste, by description.
    """
    found = descriptions(loaded, files, directory)
    for name, emitted in found.items():
        (target / f"{name}.sub").write_text(emitted.text)
    return {name: emitted.snippet() for name, emitted in found.items()}
