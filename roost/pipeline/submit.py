"""The story of `inv submit`: the submit description of a built image, or of a published one."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost.condor import emit, submission
from roost.condor.jobs_file import Jobs, read_jobs
from roost.condor.submit_values import Delivery
from roost.errors import UsageError
from roost.host import output as writing
from roost.host import paths
from roost.pipeline import released
from roost.publish import describe, release
from roost.publish.describe import ReleasedImage
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.recipe import loader
from roost.recipe.model import Hypervisor, Recipe
from roost.store import manifest


@dataclass(frozen=True, slots=True)
class Options:
    """What is asked for: `hypervisor` None is the recipe's first, `transfer` None the recipe's or the catalogue's.

    `jobs` is a file of jobs, with `snippet` it is only the lines about disks, `output` is where it is written, too.
    """

    hypervisor: str | None = None
    transfer: str | None = None
    jobs: Path | None = None
    snippet: bool = False
    output: Path | None = None

    def chosen(self, recipe: Recipe) -> Hypervisor:
        """Return the hypervisor; raise `UsageError` for a word that is not one."""
        if self.hypervisor not in {None, "kvm", "xen"}:
            raise UsageError(f"no such hypervisor: '{self.hypervisor}'", hint="kvm or xen")
        return "xen" if self.hypervisor == "xen" else "kvm" if self.hypervisor else recipe.hypervisors[0]

    @property
    def table(self) -> Jobs | None:
        """The jobs."""
        return read_jobs(self.jobs) if self.jobs else None


DEFAULTS = Options()


def submit(name: str, options: Options = DEFAULTS) -> str:
    """Return the submit description of a built image."""
    if "@" in name and "/" not in name.rpartition("@")[2]:
        raise UsageError(f"{name} names a published version", hint=f"inv submit {name} --from CATALOGUE")
    loaded = loader.load(name, paths.project_root())
    directory = loaded.build
    record = manifest.read(directory)
    if record is None:
        raise UsageError(f"{loaded.recipe.name} is not built yet", hint=f"inv build {name}")
    chosen = options.chosen(loaded.recipe)
    at = submission.place_of(options.output)
    delivery = Delivery(options.transfer, jobs=options.table, at=at)
    emitted = submission.describe(loaded, record.files, chosen, directory, delivery)
    text = emitted.snippet() if options.snippet else emitted.text
    if at is None:
        text = submission.told(text, directory, options.jobs, options.transfer or loaded.recipe.submit.transfer)
    return _written(text, options)


def published(name: str, source: str, options: Options = DEFAULTS) -> str:
    """Return the submit description of a published image: `source` is CATALOGUE or CATALOGUE@VERSION.

    The transfer is files (beside the description), shared (the catalogue's absolute path), or the URL or path of a copy
    of the catalogue; by default where the catalogue is. Nothing of the image itself is read, only what describes it.
    """
    url, version = released.source_of(source)
    name, wanted = released.named(name)
    if wanted is not None and version not in {None, wanted}:
        raise UsageError(f"which version: {wanted} or {version}?", hint="name it once")
    target = open_target(url)
    found = released.find(target, name, wanted or version)
    recipe = released.recipe(target, found)
    chosen = options.chosen(recipe)
    told = found.raw.get("remarks")
    remark = told.get(chosen) if isinstance(told, dict) else None
    images = [file for file in found.files if file.role in release.IMAGE_ROLES]
    texts = describe.descriptions(
        ReleasedImage(recipe, images, _root(target, options.transfer)),
        chosen,
        remarks=[str(remark)] if remark else [],
        jobs=options.table,
        templates=emit.template_directories(paths.project_root()),
        at=submission.place_of(options.output),
    )
    return _written(texts.snippet if options.snippet else texts.description, options)


def _root(target: Target, transfer: str | None) -> str | None:
    if transfer == "files":
        return None
    if transfer is None:
        return released.root(target, None)
    if transfer == "shared":
        if target.local is None:
            raise UsageError(f"{target.url} is not a directory that machines share", hint="--transfer files, or a URL")
        return str(target.local)
    if "://" not in transfer and not transfer.startswith("/"):
        hint = "files, shared, or the URL or absolute path of the catalogue"
        raise UsageError(f"no such transfer: '{transfer}'", hint=hint)
    return transfer.rstrip("/")


def _written(text: str, options: Options) -> str:
    if options.output is not None:
        writing.write(options.output, text.encode())
    return text
