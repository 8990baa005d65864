"""The steps of `inv diff`: which two images are compared, what can be read here, and the differences."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from roost.catalogue import difference
from roost.catalogue.difference import Difference
from roost.errors import UsageError
from roost.events import Events, Stages
from roost.host import paths
from roost.pipeline import sides
from roost.pipeline.context import accelerator
from roost.pipeline.sides import Asked, Disks
from roost.recipe import loader
from roost.store import lease
from roost.store.scratch import scratch_directory
from roost.verify import contents
from roost.verify.contents import Contents
from roost.verify.readback import Appliance

#: Seconds in which the files of one image must be read.
DEADLINE = 1800.0


def diff(words: Sequence[str], *, events: Events, url: str = "", files: bool = True) -> Difference:
    """Compare two builds, published versions or recipes; a single one with its current recipe or its build.

    `url` is the catalogue in which names are looked up, unless they are paths. Without `files` no disk is read. Raises
    `UsageError` if one does not exist, `ImageError` if it was changed or cannot be read.
    """
    if not 1 <= len(words) <= 2:
        raise UsageError(f"one or two things to compare, not {len(words)}", hint="inv diff A [B]")
    with lease.held():
        old, new = _both(list(words), url, events)
        notes = [*old.notes, *new.notes]
        if "recipe" in (old.side.kind, new.side.kind):
            old, new = _as_selected(old), _as_selected(new)
        trees = _trees(old, new, notes, events) if files else None
        if not files:
            notes.append("files are not compared: --no-files")
        return difference.between(old.side, new.side, trees, notes)


def _both(words: list[str], url: str, events: Events) -> tuple[Asked, Asked]:
    if len(words) == 2:
        first, second = (_one(word, url, events) for word in words)
        return first, second
    word = words[0]
    if sides.is_published(word, url):
        here = word.rpartition("@")[0] or word
        return sides.published(word, url), sides.required(here)
    old = sides.required(word)
    loaded = old.loaded or loader.load(old.side.version.name, paths.project_root())
    return old, sides.now(loaded, old.record, events)


def _one(word: str, url: str, events: Events) -> Asked:
    if sides.is_published(word, url):
        return sides.published(word, url)
    found = sides.built(word)
    if found is not None:
        return found
    loaded = replace(loader.load(word, paths.project_root()), called=word)
    return sides.now(loaded, None, events)


def _as_selected(build: Asked) -> Asked:
    """Return a build with only the packages that apt selected: the effect of a recipe's commands is unknown."""
    if build.record is None:
        return build
    packages = sides.selected_by(build.record)
    version = replace(build.side.version, packages=packages or (), kernel="")
    return replace(build, side=replace(build.side, version=version, has_packages=packages is not None))


def _trees(old: Asked, new: Asked, notes: list[str], events: Events) -> tuple[Contents, Contents] | None:
    """Read the files of both; identical disks are not read."""
    if old.side.digests and old.side.digests == new.side.digests:
        return {}, {}
    for one in (old, new):
        if one.disks is None and not one.notes:
            recipe = one.side.kind == "recipe"
            why = "is not built" if recipe else "is in a catalogue that is not a local directory"
            notes.append(f"files are not compared: {one.side.label} {why}")
    if old.disks is None or new.disks is None:
        return None
    same = {name for name, _, _ in old.disks.disks if _digest(old, name) == _digest(new, name)}
    stages, found = Stages(events), []
    with scratch_directory() as scratch:
        for number, one in enumerate((old, new)):
            assert one.disks is not None
            disks = tuple(disk for disk in one.disks.disks if disk[0] not in same)
            log = scratch / "log" / f"contents-{number}.log"
            with stages.stage("read", f"the files of {one.side.label}"):
                found.append(_read(replace(one.disks, disks=disks), log, scratch))
    return found[0], found[1]


def _digest(subject: Asked, name: str) -> str | None:
    assert subject.disks is not None
    return next((subject.side.digests.get(path.name) for disk, path, _ in subject.disks.disks if disk == name), None)


def _read(disks: Disks, log: Path, scratch: Path) -> Contents:
    if not disks.disks:
        return {}
    appliance = Appliance(accelerator(), log, DEADLINE, disks.stock)
    return contents.read(disks.disks, disks.filesystems, appliance, scratch)
