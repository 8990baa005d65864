"""The build of an image of which only the submit part has changed: other submit descriptions beside the same disks.

The disks of the last build become those of the new one, by hard links: they were made from the same content and read
back then, and have not changed since.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from roost.condor import submission
from roost.pipeline import kept_files, key_parts
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.publish import sbom
from roost.store import manifest, staging
from roost.store.manifest import Manifest


class Finished(NamedTuple):
    """A built image: its manifest, and the lines for a submit description by hypervisor."""

    record: Manifest
    snippets: Mapping[str, str]


def keys(plan: BuildPlan) -> dict[str, str]:
    """Return the keys of a build for its manifest: of its source, of the image and its content, of the recipe."""
    return {
        "rootfs": plan.source.key,
        "image": plan.key,
        "content": plan.keys.content,
        "base": plan.keys.base,
        "recipe": plan.keys.recipe,
    }


def unchanged(context: Context, key: str, value: str) -> Manifest | None:
    """Return the manifest of the last build if its key named `key` has this value and its files are unchanged."""
    before = manifest.read(context.directory)
    if before is None or before.keys.get(key) != value:
        return None
    return None if manifest.changed_files(context.directory, before.files) else before


class NoLinksError(Exception):
    """Files here cannot have a second name."""


def renew(context: Context, plan: BuildPlan) -> Finished | None:
    """Build the image with the disks of the last build, if they are those of this one; else return None.

    Also where files cannot have a second name. The caller holds the lock of the directory.
    """
    before = unchanged(context, "content", plan.keys.content)
    return with_disks_of(before, context, plan) if before is not None else None


def with_disks_of(before: Manifest, context: Context, plan: BuildPlan) -> Finished | None:
    """Build the image with all files of the build `before`; return None where they cannot have a second name."""
    with context.stages.stage("record", "submit description, manifest"):
        try:
            with staged(context) as target:
                link([*before.sums, sbom.NAME], context.directory, target)
                snippets = submission.write(context.loaded, before.files, target, context.directory)
                return write(context, plan, before, target, snippets)
        except NoLinksError:
            return None


@contextlib.contextmanager
def staged(context: Context) -> Iterator[Path]:
    """Yield the directory that becomes the image's when the block succeeds, with what others left in the old one."""
    with staging.staged(context.directory) as target:
        # The image's content must not depend on the user's umask; the directory's mode does.
        before = os.umask(0o022)
        try:
            yield target
            kept_files.keep(context.recipe, context.directory, target)
        finally:
            os.umask(before)


def link(names: Iterable[str], source: Path, target: Path) -> None:
    """Give files of the directory `source` a second name in `target`; raise `NoLinksError` if they cannot have one."""
    try:
        for name in names:
            os.link(source / name, target / name)
    except OSError as error:
        # No hard links on this file system, or none to another user's files (proc(5), protected_hardlinks).
        raise NoLinksError from error


def write(context: Context, plan: BuildPlan, before: Manifest, target: Path, snippets: Mapping[str, str]) -> Finished:
    """Write logs, and last the manifest: `before` with the keys, the recipe and the seconds of this build."""
    record = replace(
        before,
        key=plan.key,
        keys=keys(plan),
        # Stages that did not run now took what they took then.
        seconds={**before.seconds, **context.stages.seconds},
        parts=key_parts.of(context.loaded, plan),
        recipe=context.recipe.model_dump(mode="json", by_alias=True),
    )
    # What the tools said when the disks were made.
    with contextlib.suppress(OSError):
        shutil.copytree(context.directory / "log", target / "log")
    shutil.copytree(context.log_dir, target / "log", dirs_exist_ok=True)
    manifest.write(target, record)
    return Finished(record, snippets)
