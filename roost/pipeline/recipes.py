"""The steps of `inv recipes`: the recipes, and the state of each image."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import roost.sources.registry  # noqa: F401 - registers all sources, so that a recipe can name them
from roost.customize import inputs as image_inputs
from roost.errors import RecipeError, UsageError
from roost.host import paths
from roost.recipe import loader
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.loader import Loaded
from roost.store import manifest
from roost.store.manifest import Manifest


def recipes(names: Sequence[str] = ()) -> dict[str, Any]:
    """Return recipes with the state of each image: broken, unbuilt, damaged, built, failed, booted, published, stale.

    If files of a build are missing or changed: "files missing", else "changed since the build". `names` are names,
    paths, or directories of recipes; none means all of the project's.
    """
    project = paths.project_root()
    rows = []
    for name in loader.expanded(names, project):
        try:
            found = loader.load_all(name, project)
        except RecipeError as error:
            rows.append({"name": name, "state": "broken", "description": str(error.problems[0])})
            continue
        for loaded in found:
            recipe, description = loaded.recipe, loaded.recipe.description
            try:
                state = _state(loaded)
            except UsageError as error:
                # A directory that cannot be listed, whose content is a part of the key.
                state, description = "broken", str(error.problems[0])
            rows.append({"name": recipe.name, "state": state, "description": description, "called": loaded.called})
    return {"recipes": rows}


def _state(loaded: Loaded) -> str:
    directory = loaded.build
    record = manifest.read(directory)
    if record is None:
        return "damaged" if manifest.is_damaged(directory) else "unbuilt"
    # The archive is not queried here: only `build` notices its changes.
    if image_inputs.recipe_key(loaded.recipe, loaded.directory) != record.keys.get("recipe"):
        return "stale"
    if changed := manifest.changed_files(directory, record.files):
        missing = any(manifest.what_became(directory, one) == "missing" for one in changed)
        return "files missing" if missing else "changed since the build"
    state = _boots(directory, loaded.recipe.hypervisors, record, image_inputs.boot_key(loaded.recipe, loaded.directory))
    if state != "booted":
        return state
    # Imported here, since publishing takes long to load, and few images get this far.
    from roost.pipeline import publish

    return "published" if publish.is_published(directory, record) else "booted"


def _boots(directory: Path, hypervisors: Sequence[Hypervisor], record: Manifest, test: str) -> str:
    """Return the state from the verdicts for test `test` and the build's files: failed, booted (all), else built."""
    from roost.pipeline import booted

    if any(booted.failed(directory, one, record, test) for one in hypervisors):
        return "failed"
    return "booted" if all(booted.passed(directory, one, record, test) for one in hypervisors) else "built"
