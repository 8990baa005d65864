"""The build of an image of which only the submit part has changed: other submit descriptions beside the same disks.

The disks of the last build become those of the new one, by hard links: they were made from the same content and read
back then, and have not changed since.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from roost.condor import submission
from roost.customize import inputs
from roost.pipeline import key_parts
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.publish import sbom
from roost.recipe.loader import Loaded
from roost.store import manifest, staging
from roost.store.manifest import Manifest


class Finished(NamedTuple):
    """A built image: its manifest, and the lines for a submit description by hypervisor."""

    record: Manifest
    snippets: Mapping[str, str]


def keys(loaded: Loaded, plan: BuildPlan) -> dict[str, str]:
    """Return the keys of a build for its manifest: of its source, of the image and its content, of the recipe."""
    return {
        "rootfs": plan.source.key,
        "image": plan.key,
        "content": plan.keys.content,
        "recipe": inputs.recipe_key(loaded.recipe, loaded.directory),
    }


def suffice(context: Context, plan: BuildPlan) -> Manifest | None:
    """Return the manifest of the last build if its disks are also those of this one, and unchanged; else None."""
    before = manifest.read(context.directory)
    if before is None or before.keys.get("content") != plan.keys.content:
        return None
    return None if manifest.changed_files(context.directory, before.files) else before


class _NoLinksError(Exception):
    """Files here cannot have a second name."""


def renew(context: Context, plan: BuildPlan, before: Manifest) -> Finished | None:
    """Build the image with the disks of the last build; return None where its files cannot have a second name.

    The caller holds the lock of the directory.
    """
    try:
        with contextlib.ExitStack() as stack, context.stages.stage("record", "submit description, manifest"):
            target = stack.enter_context(staging.staged(context.directory))
            # As in a whole build, the files' modes do not depend on the user's umask; the directory's mode does.
            stack.callback(os.umask, os.umask(0o022))
            _link([*(file.name for file in before.files), sbom.NAME], context.directory, target)
            return _written(context, plan, before, target)
    except _NoLinksError:
        return None


def _link(names: Sequence[str], source: Path, target: Path) -> None:
    try:
        for name in names:
            os.link(source / name, target / name)
    except OSError as error:
        # No hard links on this file system, or none to another user's files (proc(5), protected_hardlinks).
        raise _NoLinksError from error


def _written(context: Context, plan: BuildPlan, before: Manifest, target: Path) -> Finished:
    snippets = submission.write(context.loaded, before.files, target, context.directory)
    record = replace(
        before,
        key=plan.key,
        keys=keys(context.loaded, plan),
        parts=key_parts.of(context.loaded, plan),
        recipe=context.recipe.model_dump(mode="json", by_alias=True),
    )
    # What the tools said when the disks were made.
    with contextlib.suppress(OSError):
        shutil.copytree(context.directory / "log", target / "log")
    shutil.copytree(context.log_dir, target / "log", dirs_exist_ok=True)
    manifest.write(target, record)
    return Finished(record, snippets)
