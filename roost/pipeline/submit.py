"""The steps of `inv submit`: the submit description of a built or published image."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from roost.condor import emit, submission
from roost.condor.jobs_file import Jobs
from roost.condor.submit_values import Delivery
from roost.customize import inputs
from roost.errors import UsageError
from roost.events import Events, Silent
from roost.host import output as writing
from roost.host import paths
from roost.iodisk import batch
from roost.pipeline import released, table
from roost.pipeline.table import Reading
from roost.publish import describe, release
from roost.publish.describe import ReleasedImage
from roost.publish.layout import Release
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.recipe import loader, overlaid
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe
from roost.recipe.words import shown
from roost.run import table as tables
from roost.store import manifest
from roost.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class Options:
    """The request: `hypervisor` None means the recipe's first, `transfer` None the recipe's or the catalogue's.

    `jobs` is a file of jobs, `snippet` selects only the lines about disks, `output` is an additional output file.
    `sets` are `key=value` settings that override the recipe, as far as they do not change the image.
    """

    hypervisor: str | None = None
    transfer: str | None = None
    jobs: Path | None = None
    snippet: bool = False
    output: Path | None = None
    sets: Sequence[str] = ()

    def chosen(self, recipe: Recipe) -> Hypervisor:
        """Return the hypervisor; raise `UsageError` for an unknown one."""
        if self.hypervisor not in {None, "kvm", "xen"}:
            raise UsageError(f"no such hypervisor: '{self.hypervisor}'", hint="kvm or xen")
        return "xen" if self.hypervisor == "xen" else "kvm" if self.hypervisor else recipe.hypervisors[0]

    def table(self, called: str, recipe: Recipe, transfer: str | None, reading: Reading) -> Jobs | None:
        """Return the jobs, checked as by `inv io --jobs`; `transfer` None means the recipe's."""
        if self.jobs is None:
            return None
        jobs = tables.for_image(tables.read(self.jobs), called, recipe)
        table.report_doubtful(jobs, recipe, reading.events)
        batch.check(jobs, recipe, transfer, reading.progress)
        return jobs


DEFAULTS = Options()
SILENT = Silent()


def submit(name: str, options: Options = DEFAULTS, events: Events = SILENT) -> str:
    """Return the submit description of a built image."""
    with table.reading(options.jobs, events) as reading:
        return _submit(name, options, reading)


def _submit(name: str, options: Options, reading: Reading) -> str:
    if "@" in name and "/" not in name.rpartition("@")[2]:
        raise UsageError(f"{name} names a published version", hint=f"inv submit {name} --from CATALOGUE")
    loaded = loader.load(name, paths.project_root(), options.sets)
    directory = loaded.build
    record = manifest.required(directory, loaded.recipe.name, name)
    _refuse_others(name, options.sets, record)
    manifest.require_unchanged(directory, record, name)
    chosen = options.chosen(loaded.recipe)
    at = submission.place_of(options.output)
    delivery = Delivery(options.transfer, jobs=options.table(name, loaded.recipe, options.transfer, reading), at=at)
    emitted = submission.describe(loaded, record.files, chosen, directory, delivery)
    text = emitted.snippet() if options.snippet else emitted.text
    if at is None:
        text = submission.told(text, directory, options.jobs, options.transfer or loaded.recipe.submit.transfer)
    return _written(text, options)


def _refuse_others(name: str, sets: Sequence[str], record: Manifest) -> None:
    """Raise `UsageError` if `sets` do not match the built image, which may have been built with some of them."""
    others = overlaid.of_the_image(sets)
    if not others:
        return
    wanted = loader.load(name, paths.project_root(), others)
    if inputs.recipe_key(wanted.recipe, wanted.directory) == record.keys.get("recipe"):
        return
    if overlaid.image_of(wanted.recipe) != overlaid.image_of(loader.load(name, paths.project_root()).recipe):
        raise _other_image(others, f"inv build {name}")


def _other_image(sets: Sequence[str], build: str) -> UsageError:
    keys = ", ".join(shown(setting.partition("=")[0].strip()) for setting in sets)
    words = " ".join(f"--set {shlex.quote(setting)}" for setting in sets)
    own = ", ".join(overlaid.OF_THE_SUBMISSION)
    return UsageError(f"--set of {keys} makes another image", hint=f"{build} {words} first; without a build: {own}")


def published(name: str, source: str, options: Options = DEFAULTS, events: Events = SILENT) -> str:
    """Return the submit description of a published image: `source` is CATALOGUE or CATALOGUE@VERSION.

    The transfer is files (next to the description), shared (the catalogue's absolute path), or the URL or path of a
    copy of the catalogue; by default the catalogue's own place. The image itself is not read, only its description.
    """
    with table.reading(options.jobs, events) as reading:
        return _published(name, source, options, reading)


def _published(name: str, source: str, options: Options, reading: Reading) -> str:
    url, version = released.source_of(source)
    name, wanted = released.named(name)
    if wanted is not None and version not in {None, wanted}:
        raise UsageError(f"which version: {wanted} or {version}?", hint="name it once")
    target = open_target(url)
    found = released.find(target, name, wanted or version)
    recipe = _overlaid(released.recipe(target, found), options.sets)
    chosen = options.chosen(recipe)
    remarks = found.raw.get("remarks")
    remark = remarks.get(chosen) if isinstance(remarks, dict) else None
    images = [file for file in found.files if file.role in release.IMAGE_ROLES]
    root = _root(target, found, options.transfer)
    if options.transfer == "shared":
        reading.events.note(f"published disks are never used in place: each job copies them from {root}")
    texts = describe.descriptions(
        ReleasedImage(recipe, images, root),
        chosen,
        remarks=[str(remark)] if remark else [],
        jobs=options.table(name, recipe, "files", reading),
        templates=emit.template_directories(paths.project_root()),
        at=submission.place_of(options.output),
    )
    return _written(texts.snippet if options.snippet else texts.description, options)


def _overlaid(recipe: Recipe, sets: Sequence[str]) -> Recipe:
    """Return a published recipe with `sets` applied; raise `UsageError` if they would change the image."""
    if not sets:
        return recipe
    if any(setting.partition("=")[0].strip() == "submit.transfer" for setting in sets):
        what = "--set submit.transfer has no effect on a published image"
        raise UsageError(what, hint="--transfer files, shared or URL says where jobs copy its files from")
    changed = overlaid.overlaid(recipe, sets)
    if overlaid.image_of(changed) != overlaid.image_of(recipe):
        raise _other_image(overlaid.of_the_image(sets), "inv build and publish it with")
    return changed


def _root(target: Target, found: Release, transfer: str | None) -> str | None:
    if transfer == "files":
        return None
    if transfer is None:
        return released.root(target, released.public(found))
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
