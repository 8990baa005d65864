"""The steps of `inv build`: the image and its submit files; an unchanged image is not touched."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.errors import ImageError, UsageError
from roost.events import Events, Stages
from roost.host import extras, paths
from roost.pipeline import environment, planning
from roost.pipeline.context import Context, log_directory, passing_logs
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.parent import parent
from roost.store import lease, manifest, staging
from roost.store.manifest import BuiltFile

if TYPE_CHECKING:
    from roost.existing.image import OriginalImage
    from roost.pipeline.submit_files import Finished


@dataclass(frozen=True, slots=True)
class Built:
    """The result of `build`: the directory, its files, and the lines for a submit description by hypervisor."""

    name: str
    directory: Path
    cached: bool
    seconds: Mapping[str, float]
    files: tuple[BuiltFile, ...]
    snippets: Mapping[str, str]
    #: The name of the image on the command line: its name, or the path of its recipe.
    called: str = ""
    #: Whether the image's name differs from the recipe's, so that no recipe can be named instead.
    renamed: bool = False

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv build NAME --json`."""
        return {
            "name": self.name,
            "folder": str(self.directory),
            "cached": self.cached,
            "seconds": dict(self.seconds),
            "files": [file.public() for file in self.files],
            "submit": dict(self.snippets),
            "called": self.called,
        }


def build(
    name: str, *, events: Events, force: bool = False, sets: Sequence[str] = (), from_lock: bool = False
) -> Built:
    """Build an image and its submit files; if nothing has changed, report that and touch nothing.

    `sets` are `key=value` settings that override the recipe; `from_lock` builds from NAME.lock.
    """
    loaded = loader.load(name, paths.project_root(), sets, planning.problems)
    built = image(loaded, events=events, force=force, from_lock=from_lock)
    return replace(built, renamed=any(one.partition("=")[0].strip() == "name" for one in sets))


def image(loaded: Loaded, *, events: Events, force: bool = False, from_lock: bool = False) -> Built:
    """Build the image of a checked recipe, after the image on which it is based."""
    environment.check()
    directory = loaded.build
    refuse_foreign(directory)
    stages = Stages(events)
    with lease.held(), passing_logs(directory) as logs, ExitStack() as held:
        fresh, ready = None, None
        # An up-to-date image needs no lock, so it does not wait for a command that only reads it, such as `inv run`.
        if not force and manifest.read(directory) is not None:
            ready = _planned(loaded, stages, logs, from_lock=from_lock)
            fresh = manifest.is_fresh(directory, ready[1].key)
        if fresh is None:
            waited: list[str] = []

            def wait() -> None:
                waited.append(staging.in_use(directory))
                events.note(waited[0])

            held.enter_context(staging.lock(directory, wait))
            kept = log_directory(directory)
            if ready is None or waited:
                # The image may have changed since it was planned.
                context, plan = _planned(loaded, stages, kept, from_lock=from_lock)
            else:
                shutil.copytree(logs, kept, dirs_exist_ok=True)
                context, plan = replace(ready[0], log_dir=kept), ready[1]
            fresh = None if force else manifest.is_fresh(directory, plan.key)
        # What a build takes, one that finds nothing to do is not to wait for.
        if fresh is None:
            record, snippets = _built(context, plan, force=force)
        else:
            from roost.condor import submission

            record, snippets = fresh, submission.snippets(loaded, fresh, directory)
    name, cached = loaded.recipe.name, fresh is not None
    return Built(name, directory, cached, stages.seconds, record.files, snippets, loaded.called)


def _built(context: Context, plan: planning.BuildPlan, *, force: bool) -> Finished:
    """Build the image; from the disks of the last build when only text has changed, unless `force`."""
    from roost.pipeline import submit_files

    done = None if force else submit_files.renew(context, plan)
    if done is not None:
        return done
    from roost.pipeline import parameters

    done = None if force else parameters.renew(context, plan)
    if done is not None:
        return done
    extras.require("sbom")
    from roost.pipeline import construct

    before = manifest.read(context.directory)
    context.stages.events.expect(before.seconds if before is not None else {})
    return construct.construct(context, plan)


def _planned(loaded: Loaded, stages: Stages, logs: Path, *, from_lock: bool) -> tuple[Context, planning.BuildPlan]:
    """Build the image on which this one is based, and return the context and the plan of this one."""
    above = parent_of(loaded, stages, from_lock=from_lock)
    context = Context(loaded, loaded.build, stages, logs, parent=above)
    if from_lock:
        from roost.pipeline import locked

        context = replace(context, locked=locked.required(loaded))
    with stages.stage("plan", "what is up to date, what has to be built"):
        plan = planning.plan(context)
    if context.locked is not None:
        locked.check(context.locked, plan, stages)
    return context, plan


def refuse_foreign(directory: Path) -> None:
    """Refuse to replace what roost did not make: other tools use the name build/, too; or a symbolic link."""
    try:
        linked = directory.is_symlink()
        foreign = not linked and (
            (directory.exists() and not directory.is_dir())
            or (directory.is_dir() and not (directory / manifest.NAME).exists() and any(directory.iterdir()))
        )
    except OSError as error:
        raise UsageError(f"{directory} cannot be read: {error.strerror}") from error
    if linked:
        raise UsageError(
            f"{directory} is a symbolic link, which a build does not replace",
            hint="remove the link, or put the directory in its place; build/ itself may be a link",
        )
    if foreign:
        raise UsageError(
            f"{directory} exists, and was not created by roost", hint="move it, or give the recipe another name"
        )


def parent_of(loaded: Loaded, stages: Stages, *, from_lock: bool = False) -> OriginalImage | None:
    """Build the image on which another one is based, if it is another recipe's."""
    name = parent(loaded)
    if name is None:
        return None
    from roost.existing import image as existing

    below = loader.load(name, paths.project_root(), (), planning.problems)
    with stages.stage("parent", below.recipe.name):
        built = image(below, events=stages.events, from_lock=from_lock)
    record = manifest.read(built.directory)
    if record is None:
        raise ImageError(f"the build of {below.recipe.name} is gone", hint=f"inv build {below.called}")
    return existing.of_build(built.directory, below.recipe.root_disk.name, record)
