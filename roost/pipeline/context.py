"""The context of one build, passed to every step: the recipe, the directories, the stages, the accelerator."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from roost.disk.tools import Tools
from roost.errors import RoostError
from roost.events import Stages
from roost.host import declared, namespace, paths, temporary
from roost.host.accelerator import ApplianceAccelerator, Kind
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.store import staging

if TYPE_CHECKING:
    from roost.existing.image import OriginalImage
    from roost.sources.lockfile import Lock


def log_directory(image: Path) -> Path:
    """Return an empty directory for the logs of building `image`: not in build/, so that a failed build leaves them."""
    directory = _logs(image)
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True, exist_ok=True)
    return directory


def _logs(image: Path) -> Path:
    # Two checkouts may build images of one name.
    place = hashlib.sha256(os.fsencode(image.absolute().parent)).hexdigest()[:8]
    return paths.cache_root() / "log" / f"{image.name}-{place}"


@contextmanager
def passing_logs(image: Path) -> Iterator[Path]:
    """Yield a temporary directory for the logs of planning `image`: a build of it may be writing its own.

    The log that an error names is copied to the directory of the build's logs.
    """
    with temporary.directory("plan") as directory:
        try:
            yield directory
        except RoostError as error:
            if error.log is not None and error.log.is_relative_to(directory):
                error.log = _kept(error.log, _logs(image))
            raise


def _kept(log: Path, directory: Path) -> Path | None:
    """Return the copy of a log in another directory; None if it cannot be copied, which must not hide the error."""
    try:
        directory.mkdir(parents=True, exist_ok=True)
        return Path(shutil.copyfile(log, directory / log.name))
    except OSError:
        return None


def accelerator() -> ApplianceAccelerator:
    """Return the accelerator of libguestfs' appliance on this host, not probed yet."""
    return ApplianceAccelerator(_probe)


def _probe() -> Kind:
    from roost.boot import probe

    # The result is cached for the host, and does not belong to a stage.
    with declared.only(None):
        return "kvm" if probe.probe().usable else "tcg"


@dataclass(frozen=True, slots=True)
class Context:
    """One build of a checked recipe.

    `directory` appears whole at the end. `parent` is the image of another recipe on which this one is based, already
    built.
    """

    loaded: Loaded
    directory: Path
    stages: Stages
    log_dir: Path
    accelerator: ApplianceAccelerator = field(default_factory=accelerator)
    parent: OriginalImage | None = None
    #: The packages of the lock, None to have apt select them.
    locked: Lock | None = None

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.loaded.recipe

    @property
    def target(self) -> Path:
        """The hidden directory in which the image is made, and that becomes `directory`."""
        return staging.place(self.directory)

    def log(self, name: str) -> Path:
        """Return the path of the log of a tool or a step."""
        return self.log_dir / f"{name}.log"

    def tools(self, epoch: int) -> Tools:
        """Return the parameters of the disk writers; no time on a disk is later than `epoch`."""
        return Tools(namespace.current(), epoch, self.log_dir, self.accelerator)
