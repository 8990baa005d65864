"""The steps of `inv lock`: an image's current inputs are written to NAME.lock, and compared with the last lock."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import roost
from roost.errors import UsageError
from roost.events import Events, Stages
from roost.host import host_facts, paths
from roost.pipeline import build, environment, key_changes, locked, planning
from roost.pipeline.context import Context, passing_logs
from roost.pipeline.key_changes import Change
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.parent import parent
from roost.sources import lockfile
from roost.sources.bootstrap import Bootstrap
from roost.sources.lockfile import Lock, LockedPackage, LockedSource
from roost.sources.packages import Package
from roost.store import lease


@dataclass(frozen=True, slots=True)
class Locked:
    """The result of `lock`: the lock, whether it was written, and the changes since the one before."""

    name: str
    path: Path
    lock: Lock
    written: bool
    changes: tuple[Change, ...]
    #: The name of the image on the command line.
    called: str

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv lock NAME --json`."""
        return {
            "name": self.name,
            "called": self.called,
            "lock": str(self.path),
            "written": self.written,
            "packages": len(self.lock.packages),
            "changes": [
                {**one.to_json(), **({"package": one.what} if one.kind == "package" else {})} for one in self.changes
            ],
        }


def lock(name: str, *, events: Events, update: bool = False, sets: Sequence[str] = ()) -> Locked:
    """Write the lock of an image if there is none, or with `update` one of the current inputs; builds nothing."""
    environment.check()
    loaded = loader.load(name, paths.project_root(), sets, planning.problems)
    path = lockfile.path_of(loaded)
    before = _before(loaded, update=update)
    with lease.held():
        now, _ = of(loaded, Stages(events), None if update else before)
    if before is not None and not update:
        return Locked(loaded.recipe.name, path, before, False, (), loaded.called)
    found = tuple(_changes(before, now)) if before is not None else ()
    written = before is None or lockfile.text(before) != lockfile.text(now)
    if written:
        lockfile.write(path, now)
    return Locked(loaded.recipe.name, path, now, written, found, loaded.called)


def _before(loaded: Loaded, *, update: bool) -> Lock | None:
    """Return the existing lock, None if there is none; an update replaces one that cannot be read."""
    try:
        return lockfile.of(loaded)
    except UsageError:
        if update:
            return None
        raise


def of(loaded: Loaded, stages: Stages, held: Lock | None = None) -> tuple[Lock, planning.BuildPlan | None]:
    """Return the lock of a build's current inputs, and its plan; `held` is a lock to verify and return instead.

    An image based on another recipe's has no plan before that one is built: its inputs are in that lock.
    """
    below = parent(loaded)
    if below is not None and loaded.recipe.edited:
        return _lock(loaded, [], None, {}), None
    above = build.parent_of(loaded, stages) if below is not None else None
    with passing_logs(loaded.build) as logs:
        plan = planning.plan(Context(loaded, loaded.build, stages, logs, parent=above, locked=held))
    kernel = {f"file {name}": value for name, value in (plan.kernel.sums if plan.kernel is not None else {}).items()}
    return _lock(loaded, locked.of_sources(plan), plan.bootstrap, kernel), plan


def _lock(
    loaded: Loaded, found: Sequence[LockedSource], bootstrap: Bootstrap | None, kernel: Mapping[str, str]
) -> Lock:
    indexes: list[LockedSource] = []
    packages: tuple[Package, ...] = ()
    if bootstrap is not None:
        addresses = [*bootstrap.index.sources, *(one.source for one in bootstrap.repositories)]
        indexes = [
            LockedSource(name=lockfile.public(source.unsigned.line), sha256=digest)
            for source, digest in zip(addresses, bootstrap.index.digests, strict=True)
        ]
        packages = bootstrap.selection.packages
        kernel = {one.name: one.version for one in packages if one.name.startswith("linux-image-")} | dict(kernel)
    host = host_facts.host()
    versions = host["packages"]
    assert isinstance(versions, dict)
    return Lock(
        lock=lockfile.VERSION,
        name=loaded.recipe.name,
        roost=roost.__version__,
        suite=bootstrap.debian.suite if bootstrap is not None else "",
        requested=list(bootstrap.packages) if bootstrap is not None else [],
        kernel=dict(kernel),
        sources=[*found, *indexes],
        packages=_entries(packages),
        tools=_entries(bootstrap.selection.tools if bootstrap is not None else ()),
        host={"system": str(host["system"]), **versions},
    )


def _entries(packages: Sequence[Package]) -> list[LockedPackage]:
    return [
        LockedPackage(name=one.name, version=one.version, architecture=one.architecture, sha256=one.sha256)
        for one in packages
    ]


def _changes(old: Lock, new: Lock) -> list[Change]:
    """Return the changes between two locks: packages first, then the rest."""
    before, now = old.selection(), new.selection()
    found = key_changes.packages(before.inputs(), now.inputs())
    tools = [[one.parts() for one in some.tools] for some in (before, now)]
    found += key_changes.packages(*tools)
    for kind, earlier, later in (
        ("recipe", {one: one for one in old.requested}, {one: one for one in new.requested}),
        ("source", {one.name: one.sha256 for one in old.sources}, {one.name: one.sha256 for one in new.sources}),
        ("kernel", old.kernel, new.kernel),
        ("host", old.host, new.host),
        ("roost", {"version": old.roost}, {"version": new.roost}),
    ):
        for key in sorted({*earlier, *later}):
            if earlier.get(key) != later.get(key):
                found.append(Change(kind, key, earlier.get(key), later.get(key)))
    return found
