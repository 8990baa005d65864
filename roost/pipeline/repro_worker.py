"""One build of `inv repro`, as a separate program: as another user, in another directory, with its own cache.

`python -m roost.pipeline.repro_worker NAME OUTPUT LOCK [KEY=VALUE...]` leaves the image in the new directory OUTPUT,
made from the packages of the file LOCK. Errors go to standard error.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from roost.errors import ImageError, RoostError
from roost.events import Stages
from roost.existing import image as existing
from roost.existing.image import OriginalImage
from roost.host import paths
from roost.pipeline import construct, planning
from roost.pipeline.context import Context, log_directory
from roost.recipe import loader
from roost.recipe.loader import Loaded
from roost.recipe.parent import parent
from roost.sources import lockfile
from roost.sources.lockfile import Lock
from roost.store import lease, manifest


def build(loaded: Loaded, output: Path, lock: Lock | None) -> None:
    """Build an image into a new directory, after building the image on which it is based next to it."""
    original = _original(loaded, output.parent / f"{output.name}.parent")
    context = Context(loaded, output, Stages(), log_directory(output), parent=original, locked=lock)
    construct.construct(context, planning.plan(context))


def _original(loaded: Loaded, output: Path) -> OriginalImage | None:
    name = parent(loaded)
    if name is None:
        return None
    below = loader.load(name, paths.project_root(), (), planning.problems)
    build(below, output, None)
    record = manifest.read(output)
    if record is None:
        raise ImageError(f"the build of {below.recipe.name} left no manifest")
    return existing.of_build(output, below.recipe.root_disk.name, record)


def main(arguments: Sequence[str]) -> int:
    """Run the build for the arguments; return the exit status of a task."""
    name, output, lock, *sets = arguments
    try:
        loaded = loader.load(name, paths.project_root(), sets, planning.problems)
        with lease.held():
            build(loaded, Path(output), lockfile.read(Path(lock)))
    except RoostError as error:
        sys.stderr.write(f"{error}\n")
        return error.exit_code
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
