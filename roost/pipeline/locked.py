"""Building from NAME.lock: the lock must exist and fit the recipe, and the inputs that it names must be unchanged."""

from __future__ import annotations

import roost
from roost.errors import ImageError, UsageError
from roost.events import Stages
from roost.host.paths import display
from roost.pipeline import planning
from roost.recipe.loader import Loaded
from roost.sources import lockfile
from roost.sources.bootable import BootableTree
from roost.sources.lockfile import Lock, LockedSource


def of_sources(plan: planning.BuildPlan) -> list[LockedSource]:
    """Return the digests of inputs other than packages and indices: an archive file, a directory's tar, an image."""
    if plan.original is not None:
        return [LockedSource(name="image", sha256=plan.original.sha256)] if plan.original.parent is None else []
    if isinstance(plan.tree, BootableTree):
        given = plan.tree.origin
        named = [LockedSource(name=str(given["source"]), sha256=str(given["sha256"]))] if "sha256" in given else []
        return [*named, LockedSource(name="root tree", sha256=plan.tree.base.sha256)]
    return []


def required(loaded: Loaded) -> Lock:
    """Return the lock of a recipe; raise `UsageError` if there is none."""
    found = lockfile.of(loaded)
    if found is None:
        path = display(lockfile.path_of(loaded))
        raise UsageError(f"there is no lock {path}", hint=f"inv lock {loaded.called or loaded.recipe.name}")
    return found


def check(lock: Lock, plan: planning.BuildPlan, stages: Stages) -> None:
    """Raise `ImageError` if an input other than a package differs from the lock; note another version of roost."""
    if lock.roost != roost.__version__:
        stages.note(f"the lock was written by roost {lock.roost}, this is {roost.__version__}: files may differ")
    held = {one.name: one.sha256 for one in lock.sources}
    wrong = [one.name for one in of_sources(plan) if held.get(one.name) != one.sha256]
    sums = plan.kernel.sums if plan.kernel is not None else {}
    wrong += [f"kernel ({name})" for name, value in sums.items() if lock.kernel.get(f"file {name}") != value]
    if wrong:
        raise ImageError(
            f"differs from the lock: {', '.join(wrong)}",
            hint="restore the file that was locked, or `inv lock NAME --update`",
        )
