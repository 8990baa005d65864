"""From a recipe to the virtual machine requested from HTCondor, or to every reason against it. Pure.

`refusals` adds to `placement.machine_refusals` what transfers, checkpoints, kernels and further commands rule
out (docs/vm-universe.md, sections 1 and 3): HTCondor itself would accept most of it and fail later.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from roost.condor import policy, remaps
from roost.condor.machine import VirtualMachine
from roost.condor.placement import (
    INITRD,
    KERNEL,
    Where,
    image_files,
    kernel_of,
    machine_refusals,
    memory_of,
    nowhere,
    vm_disks,
)
from roost.errors import Location, Problem, RecipeError
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe

__all__ = ["BuiltFiles", "base_name", "image_files", "is_url", "machine_refusals", "refusals", "virtual_machine"]

#: Commands that a recipe may set in place of roost; `requirements` is combined with roost's.
OVERRIDABLE = frozenset(
    {
        "executable",
        "log",
        "request_cpus",
        "request_memory",
        "request_disk",
        "periodic_remove",
        "requirements",
        "transfer_output_remaps",
    }
)

#: Commands derived from the recipe, and the key that decides each; another value would contradict the image.
DECIDED = {
    "universe": "roost writes for the vm universe only",
    "vm_type": "set hypervisors",
    "vm_memory": "set machine.memory",
    "vm_vcpus": "set machine.cpus",
    "vm_disk": "set disks",
    "vm_networking": "set machine.network",
    "vm_networking_type": "set machine.network",
    "vm_macaddr": "set machine.mac",
    "vm_vnc": "set machine.vnc",
    "vm_checkpoint": "set submit.checkpoint",
    "vm_no_output_vm": "set submit.no_output",
    "xen_kernel": "set kernel.placement and submit.xen_kernel",
    "xen_initrd": "set kernel.placement",
    "xen_root": "it follows from the disks",
    "xen_kernel_params": "set kernel.parameters",
    "should_transfer_files": "set submit.transfer",
    "when_to_transfer_output": "set submit.checkpoint",
    "transfer_input_files": "set submit.inputs",
    "transfer_output_files": "set submit.return",
    "queue": "give a file of jobs",
}

#: Words that condor_submit reads as statements, not as commands.
_KEYWORDS = frozenset({"if", "elif", "else", "endif", "include", "use"})
_COMMANDS = {name.replace("_", ""): name for name in DECIDED}
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://[A-Za-z0-9._~:/@!&*+=%\[\]-]*")
_BAD_PERCENT = re.compile(r"%(?![0-9A-Fa-f]{2})")


@dataclass(frozen=True, slots=True)
class BuiltFiles:
    """The files of a build, by name: `sizes` in bytes (virtual ones for disks), and the base of each overlay.

    `directory` is the absolute directory of the files. `backing` maps an overlay to its base; the base travels with
    it. `root` is the root parameter of a kernel taken out of an existing image, used where the recipe has none:
    `root=UUID=…`. `kernels` has the absolute paths of kernel and initrd where they are not in `directory`.
    """

    directory: Path | None = None
    sizes: Mapping[str, int] = field(default_factory=dict)
    backing: Mapping[str, str] = field(default_factory=dict)
    root: str | None = None
    kernels: Mapping[str, str] = field(default_factory=dict)


def virtual_machine(recipe: Recipe, hypervisor: Hypervisor, *, files: BuiltFiles | None = None) -> VirtualMachine:
    """Return the machine of a recipe, with file names as in the sandbox; raise `RecipeError` with every problem.

    With `files` (where their sizes are known), every file must be among them.
    """
    problems = list(machine_refusals(recipe, hypervisor))
    disks = tuple(vm_disks(recipe, hypervisor).values())
    kernel = kernel_of(recipe, hypervisor, files.root if files is not None else None)
    if files is not None and files.sizes:
        names = [disk.file for disk in disks] + ([kernel.kernel] if kernel else [])
        problems += [
            Problem(
                f"the build has no {name}, which {hypervisor} needs: the recipe changed since the build",
                hint="build the image again",
            )
            for name in names
            if name not in files.sizes
        ]
        if kernel and INITRD not in files.sizes:
            kernel = replace(kernel, initrd=None)
    if problems:
        raise RecipeError(problems)
    mac = recipe.machine.mac
    return VirtualMachine(
        name=recipe.name,
        hypervisor=hypervisor,
        memory=memory_of(recipe),
        vcpus=recipe.machine.cpus,
        disks=disks,
        network=recipe.machine.network,
        kernel=kernel,
        mac=None if mac == "auto" else mac,
        vnc=recipe.machine.vnc,
    )


def is_url(transfer: str) -> bool:
    """Return whether a transfer mode is a URL prefix."""
    return "://" in transfer


def refusals(
    recipe: Recipe, hypervisor: Hypervisor, transfer: str | None = None, where: Where = nowhere
) -> tuple[Problem, ...]:
    """Return every reason why this recipe cannot be submitted to `hypervisor` with this transfer mode.

    `transfer` is `files`, `shared` or a URL prefix, by default the recipe's; `where` locates keys of the recipe.
    """
    mode = recipe.submit.transfer if transfer is None else transfer
    return (*machine_refusals(recipe, hypervisor, where), *_refusals(recipe, hypervisor, mode, where))


def directory_refusals(recipe: Recipe, directory: Path, where: Where = nowhere) -> tuple[Problem, ...]:
    """Return why jobs cannot use the image from the directory it is built in: HTCondor's script interprets paths.

    Only with a shared directory does the script see that path (docs/vm-universe.md, sections 2 and 5).
    """
    if recipe.submit.transfer != "shared":
        return ()
    found = []
    if "iso" in str(directory):
        what = f"the path {directory} contains 'iso': HTCondor would attach every disk in it as a CD-ROM"
        found.append(Problem(what, where(("submit", "transfer")), "use another name, or `transfer: files`"))
    if "included" in str(directory) and "xen" in recipe.hypervisors and kernel_of(recipe, "xen") is not None:
        what = f"the path {directory} contains 'included': HTCondor would start no kernel from it"
        found.append(Problem(what, where(("submit", "transfer")), "use another name, or `transfer: files`"))
    return tuple(found)


def _refusals(recipe: Recipe, hypervisor: Hypervisor, transfer: str, where: Where) -> Iterator[Problem]:
    if hypervisor not in recipe.hypervisors:
        what = f"the recipe is not for {hypervisor}, so its image was not made for it"
        yield Problem(what, where(("hypervisors",)), f"add {hypervisor} to hypervisors")
    if hypervisor == "kvm" and recipe.kernel.placement == "external":
        what = "HTCondor gives a kvm machine no kernel: the image must boot by itself"
        yield Problem(what, where(("kernel", "placement")), "write `placement: included` or `both`")
    # If the kernel is in the image and beside it, xen.sub or xen-files.sub names the file.
    if hypervisor == "xen" and recipe.submit.kernel_path is not None and recipe.kernel.placement == "included":
        what = "submit.kernel_path has no effect: the machine starts the kernel that is in the image"
        hint = "remove it, or write `kernel: {placement: both}`, which makes xen-files.sub, too"
        yield Problem(what, where(("submit", "kernel_path")), hint)
    elif hypervisor == "xen" and "included" in (recipe.submit.kernel_path or ""):
        what = f"the path {recipe.submit.kernel_path} contains 'included', so xen would load no kernel"
        yield Problem(what, where(("submit", "kernel_path")), "use another name")
    yield from _transfer(transfer, where)
    if recipe.submit.checkpoint and transfer != "shared":
        what = "a machine whose disks are transferred cannot be checkpointed: HTCondor would hold the job"
        yield Problem(what, where(("submit", "checkpoint")), "use `transfer: shared`, or drop the checkpoint")
    yield from policy.problems(recipe, where)
    yield from remaps.problems(recipe, hypervisor, transfer, where)
    yield from _inputs(recipe, hypervisor, where)
    yield from _commands(recipe, where)
    yield from _attributes(recipe, where)


def _transfer(transfer: str, where: Where) -> Iterator[Problem]:
    if transfer in ("files", "shared"):
        return
    key = where(("submit", "transfer"))
    if not is_url(transfer):
        yield Problem(f"{transfer!r} is not a way to transfer", key, "write files, shared, or a URL of the directory")
    elif not _URL.fullmatch(transfer) or _BAD_PERCENT.search(transfer):
        what = f"the URL {transfer!r} has characters that HTCondor's list of files cannot carry"
        yield Problem(what, key, "write them as %XX: a blank is %20, a comma %2C; no query, no fragment")
    elif transfer.lower().startswith("file://") and not transfer.lower().startswith("file:///"):
        yield Problem(f"{transfer!r} names a host", key, "a file URL has three slashes: file:///directory")


def _inputs(recipe: Recipe, hypervisor: Hypervisor, where: Where) -> Iterator[Problem]:
    taken = {disk.file for disk in vm_disks(recipe, hypervisor).values()}
    if kernel_of(recipe, hypervisor):
        taken |= {KERNEL, INITRD}
    for number, name in enumerate(recipe.submit.inputs):
        base = base_name(name)
        place = where(("submit", "inputs", number))
        if base in taken or base in ("", ".", ".."):
            reason = (
                "names no file" if base in ("", ".", "..") else f"would overwrite {base}: HTCondor's sandbox is flat"
            )
            yield Problem(f"the input {name!r} {reason}", place, "name each file differently")
        elif is_url(name) and (not _URL.fullmatch(name) or _BAD_PERCENT.search(name)):
            yield Problem(f"the URL {name!r} has characters that must be written as %XX", place)
        elif "$" in name or "\\" in name or not name.isprintable():
            yield Problem(f"the input {name!r} has a character that condor_submit would not take as it is", place)
        taken.add(base)


def base_name(name: str) -> str:
    """Return the name of an input in the sandbox; a URL's query is cut off (docs/vm-universe.md, section 3)."""
    path = name.partition("?")[0].partition("#")[0] if is_url(name) else name
    return path.rpartition("/")[2]


def _commands(recipe: Recipe, where: Where) -> Iterator[Problem]:
    seen: set[str] = set()
    for name in recipe.submit.commands:
        key = where(("submit", "commands", name))
        lower = name.lower()
        # condor_submit also accepts the attribute's name: TransferInputFiles is transfer_input_files.
        decided = _COMMANDS.get(lower.replace("_", ""))
        if lower in seen:
            yield Problem(f"the command {name} is given twice: names are not case-sensitive", key)
        elif lower in _KEYWORDS:
            yield Problem(f"{name} is a statement of the submit language, not a command", key)
        elif decided:
            yield Problem(f"the command {name} follows from the recipe", key, DECIDED[decided])
        elif lower.startswith(("+", "my.")):
            yield from _attribute_name(lower.removeprefix("+").removeprefix("my."), name, key)
        seen.add(lower)


def _attributes(recipe: Recipe, where: Where) -> Iterator[Problem]:
    seen = {name.lower().lstrip("+").removeprefix("my.") for name in recipe.submit.commands if _is_attribute(name)}
    for name, value in recipe.submit.attributes.items():
        key = where(("submit", "attributes", name))
        if name.lower() in seen:
            yield Problem(f"the attribute {name} is given twice: names are not case-sensitive", key)
        yield from _attribute_name(name.lower(), name, key)
        if isinstance(value, str) and "$$" in value:
            yield Problem(f"the value of {name} has $$, which HTCondor would expand on the execution point", key)
        if isinstance(value, str) and re.search(r'\\(?:"|$)', value):
            # The old ClassAd syntax used here accepts it; in the new syntax the string would not end.
            yield Problem(
                f"the value of {name} has a backslash before a quote or at its end", key, "put a blank between them"
            )
        if isinstance(value, float) and not math.isfinite(value):
            yield Problem(f"the value of {name} is not a number that a ClassAd can hold", key)
        seen.add(name.lower())


def _is_attribute(name: str) -> bool:
    return name.startswith("+") or name.lower().startswith("my.")


def _attribute_name(lower: str, name: str, key: Location | None) -> Iterator[Problem]:
    if lower.startswith(("jobvm", "vmparam_")) or lower in _COMMANDS or lower in ("jobuniverse", "requirements"):
        yield Problem(f"the attribute {name} is condor_submit's own", key, "use the recipe's keys")
