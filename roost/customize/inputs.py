"""The inputs of an image: its recipe, the local files that the recipe names, its secrets.

Everything that can change a byte of an image is in the key under which it is built, so that a stale result is never
taken for a fresh one and nothing is built twice.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from roost.customize import passwords
from roost.host import checksum
from roost.recipe.model import Recipe
from roost.store import keys


def _local_names(recipe: Recipe) -> Iterator[str]:
    for entry in recipe.files:
        yield from (name for name in (entry.source, entry.template) if name is not None)
    for user in recipe.users:
        yield from user.ssh_keys
    yield from recipe.os.source.local_files
    if recipe.cloud_init is not None:
        named = (recipe.cloud_init.user_data, recipe.cloud_init.network_config)
        yield from (name for name in named if isinstance(name, str))


def local_files(recipe: Recipe, directory: Path) -> dict[str, str]:
    """Return name → digest of content and mode for every local file that the recipe in `directory` uses."""
    found: dict[str, str] = {}
    for name in sorted(set(_local_names(recipe))):
        for path in keys.walk(directory / name):
            found[str(path.relative_to(directory) if path.is_relative_to(directory) else path)] = _state(path)
    origin = recipe.os.source.origin
    if origin is not None:
        path = directory / origin
        found[origin] = f"tree {keys.fingerprint(path)}" if path.is_dir() else f"source {keys.large_digest(path)}"
    return found


def _state(path: Path) -> str:
    """Return the mode and content of a file, link or directory, for a digest."""
    if path.is_symlink():
        content = f"link {path.readlink()}"
    elif path.is_file():
        content = checksum.sha256(path)
    else:
        content = "folder"
    return f"{path.lstat().st_mode & 0o7777:o} {content}"


def boot_key(recipe: Recipe, directory: Path) -> str:
    """Return the key of the test boot: the recipe's settings for it, and the job's inputs, links in them followed.

    It does not affect the image, so it is not a part of the image's key.
    """
    found: dict[str, list[str]] = {}
    for name in recipe.boot_test.inputs:
        states = []
        for path in keys.walk(Path(os.path.realpath(directory / name))):
            states.append(f"{path} {_state(path)}")
            if path.is_symlink() and path.is_file():
                states.append(_state(path.resolve()))
        found[name] = states
    return keys.digest({"boot_test": recipe.boot_test.model_dump(mode="json", by_alias=True), "inputs": found})


def recipe_key(recipe: Recipe, directory: Path) -> str:
    """Return the key of a recipe with its local files: what a user may have changed since a build.

    Settings of the test boot alone are in `boot_key`: when they change, the image is booted again but not rebuilt.
    """
    return recipe_keys(recipe, directory).whole


class RecipeKeys(NamedTuple):
    """The keys of a recipe with its local files: of all but the test boot, and of less, as `Keys` of an image."""

    whole: str
    content: str
    base: str


def recipe_keys(recipe: Recipe, directory: Path) -> RecipeKeys:
    """Return `recipe_key`, the key without what only submit descriptions have, and that without kernel parameters."""
    given: dict[str, Any] = {"files": local_files(recipe, directory)}
    secret = passwords.digests(recipe, directory)
    if secret:
        given["passwords"] = secret

    def key(left_out: dict[str, Any]) -> str:
        values = recipe.model_dump(mode="json", by_alias=True, exclude=left_out)
        return keys.digest({**given, "recipe": values})

    whole: dict[str, Any] = {"boot_test": True}
    content = {**whole, "submit": True}
    return RecipeKeys(key(whole), key(content), key({**content, "kernel": {"parameters"}}))
