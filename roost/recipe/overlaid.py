"""Apply `--set key=value` to a recipe for a submission, where the image must stay the same."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from roost.errors import Location, Problem, RecipeError
from roost.recipe import checks
from roost.recipe.merge import assign, read_set
from roost.recipe.model import Recipe
from roost.recipe.parse import parse
from roost.recipe.validation import validate

#: Keys that only affect the submission: the image is the same with any value.
OF_THE_SUBMISSION = ("submit", "boot_test", "description", "machine.memory", "machine.cpus")


def of_the_image(sets: Sequence[str]) -> list[str]:
    """Return those of `sets` that may change the image."""
    keys = [(setting, setting.partition("=")[0].strip()) for setting in sets]
    return [
        setting
        for setting, key in keys
        if not any(key == own or key.startswith(f"{own}.") for own in OF_THE_SUBMISSION)
    ]


def image_of(recipe: Recipe) -> dict[str, Any]:
    """Return the parts of a recipe that the image depends on."""
    parts = recipe.model_dump(mode="json", by_alias=True, exclude={"submit", "boot_test", "description"})
    return {**parts, "machine": {k: v for k, v in parts["machine"].items() if k not in {"memory", "cpus"}}}


def overlaid(recipe: Recipe, sets: Sequence[str]) -> Recipe:
    """Return a recipe that has no file, such as a published one, with `sets` applied.

    Raises `RecipeError` with all mistakes of `sets`.
    """
    text = json.dumps(recipe.model_dump(mode="json", by_alias=True, exclude_none=True))
    tree, problems = parse(text.encode(), f"the recipe of {recipe.name}")
    for setting in sets:
        key, value, found = read_set(setting)
        problems += found
        if value is not None and tree is not None:
            tree, problem = assign(tree, key, value)
            problems += [problem] if problem else []
    if tree is None or problems:
        raise RecipeError(problems or [Problem("the recipe cannot be read", Location(recipe.name))])
    changed, whole, mistakes = validate(tree)
    mistakes += checks.problems(whole, tree)
    if changed is None or mistakes:
        raise RecipeError(list(dict.fromkeys(mistakes)))
    return changed
