"""The steps of `inv build --explain`: which stages would be built again, and which inputs changed.

It builds nothing, and reads only what a build reads first: local files, the archive's lists, files with a URL.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from roost.events import Events, Stages
from roost.existing import image as existing
from roost.host import paths, temporary
from roost.pipeline import environment, key_parts, locked, planning
from roost.pipeline.build import refuse_foreign
from roost.pipeline.context import Context
from roost.pipeline.key_changes import Change, changes
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.parent import parent
from roost.store import cache, lease, manifest
from roost.store.manifest import Manifest


@dataclass(frozen=True, slots=True)
class StageOutlook:
    """What a build would do with one stage: `again` means it is made again, `cached` that its result exists.

    `only` is what of the last build is replaced, if that is enough: "submit descriptions" or "kernel parameters".
    """

    name: str
    again: bool
    cached: bool
    changes: tuple[Change, ...] = ()
    only: str | None = None

    def to_json(self) -> dict[str, Any]:
        """Return its JSON for `inv build --explain --json`."""
        return {
            "stage": self.name,
            "again": self.again,
            "cached": self.cached,
            "changes": [one.to_json() for one in self.changes],
            "only": self.only,
        }


@dataclass(frozen=True, slots=True)
class Outlook:
    """What a build would do: nothing, unless `again`; the stages in build order."""

    name: str
    called: str
    again: bool
    stages: tuple[StageOutlook, ...]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv build NAME --explain --json`."""
        return {
            "name": self.name,
            "called": self.called,
            "again": self.again,
            "stages": [one.to_json() for one in self.stages],
        }


def explain(name: str, *, events: Events, sets: Sequence[str] = (), from_lock: bool = False) -> Outlook:
    """Return what `inv build NAME` would do now; `sets` are `key=value` settings that override the recipe."""
    environment.check()
    with lease.held():
        loaded = loader.load(name, paths.project_root(), sets, planning.problems)
        return of(loaded, Stages(events), from_lock=from_lock)


def of(loaded: Loaded, stages: Stages, *, from_lock: bool = False) -> Outlook:
    """Return what a build of a checked recipe would do, including the image on which it is based."""
    refuse_foreign(loaded.build)
    record = manifest.read(loaded.build)
    earlier = parent(loaded)
    above: tuple[StageOutlook, ...] = ()
    original = None
    if earlier is not None:
        below = loader.load(earlier, paths.project_root(), (), planning.problems)
        outlook = of(below, stages, from_lock=from_lock)
        above = (StageOutlook(f"parent {below.recipe.name}", outlook.again, not outlook.again),)
        built = manifest.read(below.build)
        if outlook.again or built is None:
            # Its result is known only once it is built.
            cause = Change("stage", above[0].name)
            lower = [
                StageOutlook(f"{below.recipe.name}: {one.name}", one.again, one.cached, one.changes)
                for one in outlook.stages
            ]
            again = StageOutlook("image", True, False, (cause,))
            return Outlook(loaded.recipe.name, loaded.called, True, (*lower, above[0], again))
        original = existing.of_build(below.build, below.recipe.root_disk.name, built)
    lock = locked.required(loaded) if from_lock else None
    with temporary.directory("explain") as logs:
        plan = planning.plan(Context(loaded, loaded.build, stages, logs, parent=original, locked=lock))
    if lock is not None:
        locked.check(lock, plan, stages)
    found = _stages(loaded, plan, record)
    return Outlook(loaded.recipe.name, loaded.called, found[-1].again, (*above, *found))


def _stages(loaded: Loaded, plan: planning.BuildPlan, record: Manifest | None) -> list[StageOutlook]:
    """Return the outlook for the root tree with its layer, or the edited image, and for the image."""
    cached = _is_cached(plan)
    if record is None:
        damaged = f"{manifest.NAME} is damaged, or was written by another version of roost"
        first = (Change("build", damaged if manifest.is_damaged(loaded.build) else "there is no earlier build"),)
        return [
            *_layer(plan, not cached, first),
            StageOutlook("rootfs", not cached, cached, first),
            StageOutlook("image", True, False, first),
        ]
    now = json.loads(json.dumps(key_parts.of(loaded, plan)))
    tree, image = (_changed(record.parts.get(name), now[name]) for name in ("rootfs", "image"))
    changed = manifest.changed_files(loaded.build, record.files)
    lost = [Change("output", name, "as built", manifest.what_became(loaded.build, name)) for name in changed]
    if plan.source.key != record.keys.get("rootfs"):
        tree = tree or [Change("input", "something that an earlier roost did not record")]
        image = [Change("stage", "rootfs"), *image]
    else:
        tree = []
    if plan.keys.recipe != record.keys.get("recipe"):
        explained = any(one.kind in {"recipe", "file"} for one in image) or not record.parts
        image += [] if explained else [Change("secret", "a password of users")]
    if plan.key == record.key:
        image = []
    elif not image:
        image = [Change("input", "something that an earlier roost did not record")]
    again = bool(image or lost)
    below = _changed(record.parts.get(key_parts.LAYER), now.get(key_parts.LAYER, {}))
    return [
        *_layer(plan, again and not cached, tuple(below)),
        StageOutlook("rootfs", again and not cached, cached, tuple(tree)),
        StageOutlook(
            "image", again, False, (*image, *lost), _only(loaded, plan, record) if image and not lost else None
        ),
    ]


def _only(loaded: Loaded, plan: planning.BuildPlan, record: Manifest) -> str | None:
    """Return what of the last build would be replaced, if a build made no new disks; else None."""
    if record.keys.get("content") == plan.keys.content:
        return "submit descriptions"
    if record.keys.get("base") != plan.keys.base:
        return None
    from roost.pipeline import parameters

    return "kernel parameters" if parameters.replaced(loaded.recipe, record) is not None else None


def _layer(plan: planning.BuildPlan, tree: bool, why: tuple[Change, ...]) -> Iterator[StageOutlook]:
    """Yield the outlook for the layer below a root tree, if both are made again."""
    below = key_parts.layer(plan.source)
    if tree and below is not None and not (cache.default().root / key_parts.LAYER / below[0]).is_dir():
        yield StageOutlook(key_parts.LAYER, True, False, why)


def _changed(old: Any, new: Mapping[str, Any]) -> list[Change]:
    return changes(old, new) if isinstance(old, Mapping) else []


def _is_cached(plan: planning.BuildPlan) -> bool:
    """Return whether the root tree need not be made: it is cached, or an existing image is edited."""
    return plan.tree is None or (cache.default().root / "rootfs" / plan.tree.key).is_dir() or _given(plan)


def _given(plan: planning.BuildPlan) -> bool:
    """Return whether nothing is added to a given tree, which planning has already read."""
    return getattr(plan.tree, "archive", True) is None
