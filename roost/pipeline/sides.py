"""The arguments of `inv diff` and `inv packages`: a build, a published version, or a recipe's current state."""

from __future__ import annotations

import contextlib
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from roost.catalogue import read
from roost.catalogue.difference import Side, Size
from roost.catalogue.model import Package, Version
from roost.condor import submission
from roost.customize import inputs as image_inputs
from roost.errors import ImageError, RoostError, UsageError
from roost.events import Events, Stages
from roost.host import files, paths, temporary
from roost.pipeline import environment, planning, released
from roost.pipeline.context import Context
from roost.publish import describe, listing, sbom
from roost.publish.describe import ReleasedImage
from roost.publish.targets.kinds import open_target
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.store import manifest
from roost.store.manifest import Manifest

#: Maximum bytes of a bill of materials and of a submit description.
BILL, DESCRIPTION = 64 << 20, 1 << 20


@dataclass(frozen=True, slots=True)
class Disks:
    """The readable disks of a side: (name, path, format) each, and their file systems as recorded."""

    disks: tuple[tuple[str, Path, str], ...]
    filesystems: tuple[Mapping[str, Any], ...]
    stock: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A side: its disks (None: not available here), its record and recipe, and notes on it."""

    side: Side
    disks: Disks | None = None
    record: Manifest | None = None
    loaded: Loaded | None = None
    notes: tuple[str, ...] = ()


def is_build(word: str) -> bool:
    """Return whether a word is the directory of a build."""
    return (Path(word) / manifest.NAME).is_file()


def is_published(word: str, url: str = "") -> bool:
    """Return whether a word is NAME@VERSION, or with a catalogue any name that is not a path."""
    path = "/" in word.rpartition("@")[0] or ("/" in word and "@" not in word) or word.endswith(loader.SUFFIXES)
    return not path and (bool(url) or ("@" in word and not is_build(word)))


def built(word: str) -> Asked | None:
    """Return the build that a word names: a recipe's, or a directory with one; None for a recipe without a build.

    Raises `UsageError` for neither, `ImageError` for files that changed since the build.
    """
    if is_build(word):
        return _of_directory(Path(word), None, word)
    loaded = replace(loader.load(word, paths.project_root()), called=word)
    if not (loaded.build / manifest.NAME).exists():
        return None
    return _of_directory(loaded.build, loaded, word)


def _of_directory(directory: Path, loaded: Loaded | None, word: str) -> Asked:
    record = manifest.required(directory, word, word)
    changed = manifest.describe_changes(directory, record.files)
    notes = [f"{directory}: {changed}; its files are not compared"]
    version = read.of_record(_record(record), _bill(directory, record, word))
    side = Side(
        label=word.strip("/").rpartition("/")[2] or word,
        kind="build",
        version=replace(version, name=record.name),
        sizes={one.name: Size(one.virtual, one.size, one.allocated) for one in record.files},
        digests=record.sums,
        submit=_descriptions(directory),
    )
    disks = {Path(one.name).stem: one for one in record.files if one.format in ("raw", "qcow2")}
    here = Disks(
        tuple((name, directory / one.name, one.format) for name, one in sorted(disks.items())),
        tuple(record.facts.get("filesystems") or ()),
        record.inputs.get("source") == "image",
    )
    return Asked(side, None if changed else here, record, loaded, tuple(notes if changed else ()))


def _record(record: Manifest) -> dict[str, Any]:
    return {"name": record.name, "facts": record.facts, "inputs": record.inputs, "recipe": record.recipe}


def _bill(directory: Path, record: Manifest, word: str) -> bytes:
    path = directory / sbom.NAME
    try:
        data = files.read_bytes(path, BILL)
    except OSError as error:
        raise ImageError(f"{path}: {error.strerror}", hint=f"inv build --force {word}") from error
    if hashlib.sha256(data).hexdigest() != record.facts.get("sbom_sha256"):
        raise ImageError(f"{path} changed since the build", hint=f"inv build --force {word}")
    return data


def _descriptions(directory: Path) -> dict[str, str]:
    found = {}
    for path in sorted(directory.glob("*.sub")):
        with contextlib.suppress(OSError):
            found[path.stem] = files.read_bytes(path, DESCRIPTION).decode("utf-8", "replace")
    return found


def published(word: str, url: str) -> Asked:
    """Return a catalogue's NAME[@VERSION]. Raises `UsageError` if there is none, `ImageError` if it was changed."""
    if not url:
        raise UsageError(f"no catalogue given for {word}", hint="--from URL")
    place, fixed = released.source_of(url)
    name, version = released.named(word)
    target = open_target(place)
    listing.find(place)
    found = released.find(target, name, version or fixed)
    published_version = read.read_version(target, found.name, found.version)
    if published_version.problem:
        raise ImageError(published_version.problem, hint=f"inv verify {place} shows details")
    side = Side(
        label=f"{found.name}@{found.version}",
        kind="published",
        version=published_version,
        sizes={one.name: Size(one.virtual, one.size) for one in published_version.images},
        digests={one.name: one.sha256 for one in published_version.images},
        submit=_of_release(published_version),
    )
    root = target.local
    if root is None:
        return Asked(side)
    disks = {Path(one.name).stem: one for one in published_version.images if one.format in ("raw", "qcow2")}
    return Asked(
        side,
        Disks(
            tuple((name, root / one.path, one.format) for name, one in sorted(disks.items())),
            published_version.filesystems,
        ),
    )


def _of_release(version: Version) -> dict[str, str] | None:
    """Return the descriptions of a version relative to its own directory, so that paths make no difference."""
    if version.recipe is None:
        return None
    image = ReleasedImage(version.recipe, version.images)
    with contextlib.suppress(RoostError):
        return {name: describe.descriptions(image, name).description for name in version.recipe.hypervisors}
    return None


def now(loaded: Loaded, record: Manifest | None, events: Events) -> Asked:
    """Return a recipe's current state; its archives are queried for the packages that apt selects.

    `record` is that of the build, which supplies the files of the submit lines. Unknown values are noted.
    """
    recipe, notes = loaded.recipe, []
    packages: tuple[Package, ...] | None = None
    try:
        packages = _selected(loaded, events)
        if packages is None:
            notes.append("packages are not compared: this source has no list of them before it is built")
    except RoostError as error:
        notes.append(f"packages are not compared: {error.problem.what}")
    built_files = record.files if record is not None else ()
    submit = None
    with contextlib.suppress(RoostError):
        found = submission.descriptions(loaded, built_files, loaded.build)
        submit = {name: one.text for name, one in found.items()}
    sources = image_inputs.local_files(recipe, loaded.directory)
    version = Version(
        name=recipe.name,
        version="",
        packages=packages or (),
        settings=read.settings(recipe.model_dump(mode="json", by_alias=True)),
        sources={str(key): str(value) for key, value in sources.items()},
    )
    side = Side(f"{recipe.name} (recipe)", "recipe", version, has_packages=packages is not None, submit=submit)
    return Asked(side, loaded=loaded, notes=tuple(notes))


def selected_by(record: Manifest) -> tuple[Package, ...] | None:
    """Return the packages that a build selected from its archives, None if its source selects none."""
    rows = record.inputs.get("selection")
    return _packages(rows) if isinstance(rows, list | tuple) else None


def _selected(loaded: Loaded, events: Events) -> tuple[Package, ...] | None:
    environment.check()
    with temporary.directory("diff") as logs:
        plan = planning.plan(Context(loaded, loaded.build, Stages(events), logs))
    rows = plan.source.inputs().get("selection")
    return _packages(rows) if rows else None


def _packages(rows: Iterable[Sequence[object]]) -> tuple[Package, ...]:
    return tuple(sorted((Package(*(str(part) for part in row[:3])) for row in rows), key=lambda one: one.name))


def required(word: str) -> Asked:
    """Return the build that a word names; raise `UsageError` if there is none yet."""
    found = built(word)
    if found is None:
        raise UsageError(f"{word} is not built yet", hint=f"inv build {word}")
    return found
