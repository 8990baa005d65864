"""The steps of `inv boot`: a built image, or the disks of a submit description, is booted and judged."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from roost.boot import attestation, interactive, run, xen_host
from roost.boot.context import Context, Echo, How
from roost.boot.domain import HostXen
from roost.boot.result import BootResult
from roost.boot.xen_machine import FirstDomain
from roost.condor import from_submit, submission
from roost.condor.machine import VirtualMachine
from roost.customize import inputs as image_inputs
from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Events, Stages
from roost.host import paths
from roost.iodisk import inputs as job_inputs
from roost.pipeline import xen_dom0
from roost.recipe import loader, mistaken
from roost.recipe.loader import Loaded
from roost.store import lease, manifest, staging
from roost.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Options:
    """How to boot: `hypervisor` is kvm or xen, None for that of the description or of the recipe.

    `evict` selects whether HTCondor's eviction is tried, None as the recipe says.
    """

    accel: str = "auto"
    hypervisor: str | None = None
    machine: str = "pc"
    require_kvm: bool = False
    evict: bool | None = None

    def __post_init__(self) -> None:
        if self.hypervisor not in {None, "kvm", "xen"}:
            raise UsageError(f"no such hypervisor: '{self.hypervisor}'", hint="kvm or xen")
        if self.machine not in {"pc", "q35"}:
            raise UsageError(f"no such machine: '{self.machine}'", hint="pc or q35")

    @property
    def how(self) -> How:
        """The options passed on to the boot."""
        return How(self.accel, "q35" if self.machine == "q35" else "pc", self.require_kvm, self.evict)


DEFAULTS = Options()


def boot(name: str, *, events: Events, options: Options = DEFAULTS, echo: Echo | None = None) -> BootResult:
    """Test boot a built image, or the disks of a submit description FILE.sub, and store the verdict next to it.

    `echo` receives each byte of the console as it arrives.
    """
    if _is_description(name):
        path = Path(name)
        context = Context(_described(path, options), path.parent, events=events, echo=echo)
        return _run(context, path.with_suffix(".boot"), options)
    return image(_load(name), events=events, options=options, echo=echo)


def image(loaded: Loaded, *, events: Events, options: Options = DEFAULTS, echo: Echo | None = None) -> BootResult:
    """Test boot the built image of a recipe, and bind the verdict to its files."""
    directory, recipe = loaded.build, loaded.recipe
    record, vm = bootable(loaded, options.hypervisor, events)
    with staging.lock(directory, lambda: events.note(staging.in_use(directory))):
        if manifest.read(directory) != record:
            raise ImageError(f"{recipe.name} was rebuilt meanwhile", hint=f"inv boot {loaded.called}")
        items, problems = job_inputs.items(
            recipe.boot_test.inputs, loaded.directory, loaded.where(("boot_test", "inputs"))
        )
        if problems:
            raise RecipeError(problems)
        bases = sorted({file.backing for file in record.files if file.backing is not None})
        test = image_inputs.boot_key(recipe, loaded.directory)
        result = _run(
            Context(vm, directory, recipe, bases, items, test, events=events, echo=echo), directory / "boot", options
        )
        _seal(directory, vm.hypervisor, events)
        return result


def interact(name: str, *, events: Events, options: Options = DEFAULTS, keep: bool = False) -> None:
    """Connect the machine's console to the user's terminal; nothing is judged.

    With `keep` the changed disks go into the new directory NAME.kept.
    """
    if _is_description(name):
        path = Path(name)
        vm = _described(path, options)
        kept = path.with_suffix(".kept") if keep else None
        with lease.held():
            interactive.interact(started(Context(vm, path.parent, events=events), options), keep=kept, also=[path])
        return
    loaded = _load(name)
    directory = loaded.build
    _, vm = bootable(loaded, options.hypervisor, events)
    with staging.lock(directory, lambda: events.note(staging.in_use(directory))):
        kept = directory.with_name(f"{directory.name}.kept") if keep else None
        with lease.held():
            context = started(Context(vm, directory, events=events), options)
            interactive.interact(context, keep=kept, also=sorted(directory.glob("*.sub")))


def _is_description(name: str) -> bool:
    return name.endswith(".sub") or (Path(name).is_file() and not name.endswith(loader.SUFFIXES))


def _described(path: Path, options: Options) -> VirtualMachine:
    if (problem := mistaken.image(path)) is not None:
        raise RecipeError([problem])
    """Return the machine of a submit description."""
    vm = from_submit.virtual_machine(path)
    if options.hypervisor not in {None, vm.hypervisor}:
        raise UsageError(f"{path} is for {vm.hypervisor}, not for {options.hypervisor}", hint="leave --hypervisor out")
    return vm


def _load(name: str) -> Loaded:
    # Hints repeat the name as typed.
    return replace(loader.load(name, paths.project_root()), called=name)


def built(loaded: Loaded) -> Manifest:
    """Return the manifest of an image whose files are unchanged since the build."""
    record = manifest.required(loaded.build, loaded.recipe.name, loaded.called)
    manifest.require_unchanged(loaded.build, record, loaded.called)
    return record


def bootable(loaded: Loaded, hypervisor: str | None, events: Events) -> tuple[Manifest, VirtualMachine]:
    """Return the manifest and the machine of a built image; raise `RecipeError` for a file that the build lacks."""
    record = built(loaded)
    vm = machine(loaded, hypervisor, record, events)
    note_change(loaded, record, events)
    return record, vm


def note_change(loaded: Loaded, record: Manifest, events: Events) -> None:
    """Note a recipe that has changed since the build."""
    if image_inputs.recipe_key(loaded.recipe, loaded.directory) != record.keys.get("recipe"):
        events.note(f"the recipe of {loaded.recipe.name} changed since the build: this boots what was built")


def machine(loaded: Loaded, hypervisor: str | None, record: Manifest, events: Events) -> VirtualMachine:
    """Return the machine of an image; for kvm, an image made only for xen gets a substitute machine."""
    made = loaded.recipe.hypervisors
    if hypervisor == "xen" and "xen" not in made:
        raise UsageError(f"{loaded.recipe.name} is not made for xen", hint="add xen to hypervisors, and build it")
    if hypervisor == "xen" or (hypervisor is None and "kvm" not in made):
        return submission.machine(loaded, "xen", record, loaded.build)
    if "kvm" in made:
        return submission.machine(loaded, "kvm", record, loaded.build)
    try:
        stand_in = submission.machine(loaded, "kvm", record, loaded.build)
    except RecipeError as error:
        reasons = "; ".join(problem.what for problem in error.problems)
        what = f"{loaded.recipe.name} is made for xen, and no kvm machine can stand in for it: {reasons}"
        raise UsageError(what, hint="--hypervisor xen") from error
    events.note(f"{loaded.recipe.name} is made for xen: a kvm machine with its disks and kernel stands in")
    return stand_in


def _run(context: Context, out: Path, options: Options) -> BootResult:
    """Boot a machine and judge it; the verdict goes into `out`."""
    # The machine's files must stay in the cache meanwhile.
    with lease.held():
        return run.boot(started(context, options), out)


def started(context: Context, options: Options) -> Context:
    """Return the context with `how` to run, and for a xen machine the first domain or the host's Xen."""
    assert context.events is not None
    first: FirstDomain | HostXen | None = None
    if context.vm.hypervisor == "xen":
        first = _host(context, options) or xen_dom0.provide(Stages(context.events))
    return replace(context, first=first, how=options.how)


def _host(context: Context, options: Options) -> HostXen | None:
    """Return the Xen of this host, if it is a dom0 and no option requires Xen in QEMU."""
    evict = context.recipe.boot_test.evict if context.recipe and options.evict is None else options.evict
    if options.accel != "auto" or options.require_kvm or evict is True:
        return None
    found = xen_host.find()
    if found is not None and context.events is not None:
        context.events.note("this host is a Xen dom0: its own xl starts the domain (--accel tcg: Xen in QEMU)")
    return found


def _seal(directory: Path, hypervisor: str, events: Events) -> None:
    """Bind the verdict to the booted bytes, so that `publish` can verify it."""
    try:
        attestation.write(directory, hypervisor)
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or error
        events.note(f"the verdict cannot be sealed, so `inv publish` will boot the image again: {why}")
