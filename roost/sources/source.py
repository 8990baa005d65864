"""What every source, a key of `os`, is to the rest: a module that checks a recipe and plans a root tree.

A tree knows its inputs before anything is made; its key is theirs, so that what was made before is used again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from roost.errors import Problem
from roost.events import Stages
from roost.host.accelerator import ApplianceAccelerator
from roost.kernel.catalogue import KernelSpec
from roost.recipe.loader import Loaded
from roost.recipe.source import Source as Model
from roost.sources.lockfile import Lock
from roost.store.cache import Cache

if TYPE_CHECKING:
    from roost.customize.overlay import Item
    from roost.existing.image import OriginalImage
    from roost.sources.bootstrap import Bootstrap


class RootTree(Protocol):
    """A root tree that can be made."""

    @property
    def epoch(self) -> int:
        """The time that no file of the image is later than, in seconds since 1970."""

    @property
    def key(self) -> str:
        """The key of the tree."""

    @property
    def suite(self) -> str | None:
        """The suite that the kernel's package is of, None where no package of a kernel is installed."""

    @property
    def own_kernel(self) -> bool:
        """Whether the tree has a kernel of its own, and keeps it."""

    @property
    def bootstrap(self) -> Bootstrap | None:
        """What is installed or added from an archive, None where nothing is."""

    def inputs(self) -> dict[str, Any]:
        """Return what the tree is made of, as JSON, for the manifest: the parts of its key and where they came from."""

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree, from the cache or freshly made."""


@dataclass(frozen=True, slots=True)
class Request:
    """What a source plans a tree with.

    `kernel` is the one that the tree gets, unless it keeps its own. `parent` is the image of another recipe that this
    one is made from, built by now.
    """

    loaded: Loaded
    kernel: KernelSpec
    stages: Stages
    log_dir: Path
    accelerator: ApplianceAccelerator
    parent: OriginalImage | None = None
    #: What packages are taken from, None to have apt select them.
    locked: Lock | None = None


class Source(Protocol):
    """A source: a module of this package, named by the registry."""

    @property
    def MODEL(self) -> type[Model]:  # noqa: N802
        """The keys of a recipe that it reads."""

    def problems(self, loaded: Loaded) -> Iterable[Problem]:
        """Return what is wrong with a recipe of this source and can be seen before anything is fetched or made."""

    def plan(self, request: Request) -> RootTree:
        """Return the root tree of a recipe; reads what says what is in it, and fetches what has a URL."""

    def items(self, loaded: Loaded) -> Iterable[Item]:
        """Return what the source itself lays over the tree."""
