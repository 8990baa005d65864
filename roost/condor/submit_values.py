"""The values of a submit description before a template renders them. Pure.

Every value is ready to be written after `NAME =`; values that HTCondor would refuse or misread are refused earlier.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from roost.condor import origins, policy, transfers
from roost.condor.classad import literal
from roost.condor.from_recipe import OVERRIDABLE, BuiltFiles, is_url, refusals, virtual_machine
from roost.condor.jobs_file import Jobs
from roost.condor.machine import MachineKernel
from roost.condor.placement import Where, nowhere
from roost.errors import Problem, RecipeError, UsageError
from roost.host import safetext
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import MiB, Recipe

#: Cluster and process as bytes of an address; $INT takes only a macro's name, so each byte needs its own macro.
_MAC_BYTES = (
    ("mac_cluster_2", "$(Cluster) / 65536 % 256"),
    ("mac_cluster_1", "$(Cluster) / 256 % 256"),
    ("mac_cluster_0", "$(Cluster) % 256"),
    ("mac_process_1", "$(Process) / 256 % 256"),
    ("mac_process_0", "$(Process) % 256"),
)


@dataclass(frozen=True, slots=True)
class XenKernel:
    """The values of xen_kernel and related commands; all but `kernel` are None when the kernel is `included`."""

    kernel: str
    initrd: str | None = None
    root: str | None = None
    parameters: str | None = None


@dataclass(frozen=True, slots=True)
class SubmitValues:
    """The values of a submit description; a template sees each field under its name.

    `memory` is in MiB, `request_disk` has its unit; `sizes_known` is false when that is only what the recipe promises.
    `inputs` are the items of transfer_input_files, `outputs` those of transfer_output_files: () if nothing is
    returned, None if the command is omitted. `remaps` has a pair for each output. `bound` is in seconds, None if roost
    sets no bound. `macros` are helper macros defined before their use. `attributes` are ready ClassAd text.
    """

    name: str
    description: str
    hypervisor: Hypervisor
    transfer_mode: Literal["files", "shared", "url"]
    executable: str
    log: str
    memory: int
    vcpus: int
    request_memory: str
    request_cpus: str
    request_disk: str
    sizes_known: bool
    vm_disk: str
    xen: XenKernel | None
    inputs: tuple[str, ...]
    outputs: tuple[str, ...] | None
    remaps: tuple[tuple[str, str], ...]
    when_to_transfer_output: Literal["ON_EXIT", "ON_EXIT_OR_EVICT"]
    network: str
    macros: tuple[tuple[str, str], ...]
    mac: str | None
    vnc: bool
    checkpoint: bool
    no_output: bool
    requirements: str | None
    periodic_remove: str | None
    periodic_hold: str | None
    periodic_hold_reason: str | None
    periodic_release: str | None
    bound: int | None
    commands: tuple[tuple[str, str], ...]
    attributes: tuple[tuple[str, str], ...]
    variables: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True, slots=True)
class Delivery:
    """How jobs get an image, in addition to what its recipe says.

    `transfer` is files, shared, or a URL of the directory; None means the recipe's own. `files` has the sizes of the
    built files and, for `shared`, their directory. `jobs` has one job per row. Returned disks are named
    NAME-CLUSTER.PROCESS.FORMAT and go to `output_directory`, relative to the directory of the submission. `where`
    locates keys of the recipe. `at` is the absolute directory of the description; None means that of the image and of
    the file of jobs.
    """

    transfer: str | None = None
    files: BuiltFiles = field(default_factory=BuiltFiles)
    jobs: Jobs | None = None
    output_directory: str = ""
    where: Where = nowhere
    at: Path | None = None


def require_made_for(recipe: Recipe, hypervisor: Hypervisor) -> None:
    """Raise `UsageError` for a hypervisor that the image of a recipe is not made for."""
    if hypervisor not in recipe.hypervisors:
        made = ", ".join(recipe.hypervisors)
        raise UsageError(f"{recipe.name} is not made for {hypervisor}", hint=f"its hypervisors are {made}")


def describe(recipe: Recipe, hypervisor: Hypervisor, delivery: Delivery) -> SubmitValues:
    """Return the values of a submit description; raise `RecipeError` with every reason against it."""
    transfer = recipe.submit.transfer if delivery.transfer is None else delivery.transfer
    files, jobs, at, output_directory = delivery.files, delivery.jobs, delivery.at, delivery.output_directory
    forbidden = [*refusals(recipe, hypervisor, transfer, delivery.where)]
    if not forbidden:
        forbidden += transfers.problems(recipe, hypervisor, transfer, files, jobs)
    if transfer != "shared":
        named = transfer == "files" or recipe.submit.inputs
        forbidden += origins.problems([files.directory if named else None, jobs.directory if jobs else None], at)
    if output_directory and not re.fullmatch(r"[A-Za-z0-9._+/-]+", output_directory):
        forbidden.append(
            Problem(f"the directory {output_directory!r} may only have the characters A-Z a-z 0-9 . _ + - /")
        )
    if forbidden:
        raise RecipeError(forbidden)
    machine = virtual_machine(recipe, hypervisor, files=files)
    shared = transfer == "shared"
    jobs = origins.placed(jobs, recipe, at) if jobs else None
    directory = origins.elsewhere(files.directory, at)
    places = transfers.places(recipe, hypervisor, transfer, files, jobs, output_directory)
    extra = transfers.backing_files(places, files)
    fetched = () if shared else tuple(transfers.source_of(name, transfer) for name in extra)
    listed = (*(place.source for place in places if place.source), *fetched, *recipe.submit.inputs)
    inputs = tuple(origins.item(name, directory) for name in listed)
    returned = [] if shared else [place for name in recipe.submit.returns for place in places if place.name == name]
    space = transfers.disk_space(places, () if shared else extra, recipe, files, jobs)
    given = {name.lower(): value for name, value in recipe.submit.commands.items()}
    rules = policy.policy(recipe)
    return SubmitValues(
        name=recipe.name,
        description=safetext.printable(recipe.description, " ").strip(" \\"),
        hypervisor=hypervisor,
        transfer_mode="url" if is_url(transfer) else "shared" if shared else "files",
        executable=given.get("executable", transfers.label(recipe.name, places, inputs, jobs)),
        log=given.get("log", f"{recipe.name}.$(Cluster).$(Process).log"),
        memory=machine.memory,
        vcpus=machine.vcpus,
        request_memory=given.get("request_memory", str(machine.memory)),
        request_cpus=given.get("request_cpus", str(machine.vcpus)),
        request_disk=given.get("request_disk", f"{-(-space // MiB)}M"),
        sizes_known=all(place.disk.file in files.sizes for place in places),
        vm_disk=transfers.vm_disk(places, hypervisor),
        xen=_xen(machine.kernel, recipe, files) if hypervisor == "xen" else None,
        inputs=inputs,
        outputs=None if shared or recipe.submit.no_output else tuple(place.output for place in returned),
        remaps=tuple((place.output, place.returned) for place in returned),
        when_to_transfer_output="ON_EXIT_OR_EVICT" if recipe.submit.checkpoint else "ON_EXIT",
        network=machine.network,
        macros=_MAC_BYTES if _address(recipe, jobs) == _AUTOMATIC else (),
        mac=_address(recipe, jobs),
        vnc=machine.vnc,
        checkpoint=recipe.submit.checkpoint,
        no_output=recipe.submit.no_output,
        requirements=rules.requirements,
        periodic_remove=rules.periodic_remove,
        periodic_hold=rules.periodic_hold,
        periodic_hold_reason=rules.periodic_hold_reason,
        periodic_release=rules.periodic_release,
        bound=rules.bound,
        commands=tuple(
            (name, value) for name, value in recipe.submit.commands.items() if name.lower() not in OVERRIDABLE
        ),
        attributes=tuple((name, literal(value)) for name, value in recipe.submit.attributes.items()),
        variables=jobs.variables if jobs else (),
        rows=jobs.rows if jobs else (),
    )


def _xen(kernel: MachineKernel | None, recipe: Recipe, files: BuiltFiles) -> XenKernel:
    if kernel is None:
        return XenKernel("included")
    # `transfers.problems` has checked that both have a path.
    path = transfers.kernel_path(kernel.kernel, recipe, files) or kernel.kernel
    initrd = transfers.kernel_path(kernel.initrd, recipe, files) if kernel.initrd else None
    return XenKernel(path, initrd, kernel.root, kernel.parameters)


#: 02 marks a locally administered unicast address (IEEE 802); cluster and process make it unique to the job.
_AUTOMATIC = ":".join(["02", *(f"$INT({name},%02x)" for name, _ in _MAC_BYTES)])


def _address(recipe: Recipe, jobs: Jobs | None) -> str | None:
    if recipe.machine.network == "none":
        return None
    column = jobs.named("mac") if jobs else None
    if column is not None:
        return f"$({column})"
    return _AUTOMATIC if recipe.machine.mac == "auto" else recipe.machine.mac
