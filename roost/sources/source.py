"""The interface of sources, the keys of `os`: a module that checks a recipe and plans a root tree.

A tree knows its inputs before anything is made; its key is derived from them, so that existing results are reused.
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
from roost.store.cache import Cache

if TYPE_CHECKING:
    from roost.customize.overlay import Item
    from roost.existing.image import OriginalImage
    from roost.sources.bootstrap import Bootstrap
    from roost.sources.lockfile import Lock


class RootTree(Protocol):
    """A root tree that can be made."""

    @property
    def epoch(self) -> int:
        """The latest time of any file in the image, in seconds since 1970."""

    @property
    def key(self) -> str:
        """The key of the tree."""

    @property
    def suite(self) -> str | None:
        """The suite of the kernel's package, None if no kernel package is installed."""

    @property
    def own_kernel(self) -> bool:
        """Whether the tree has its own kernel and keeps it."""

    @property
    def bootstrap(self) -> Bootstrap | None:
        """What is installed or added from an archive, None if nothing is."""

    def inputs(self) -> dict[str, Any]:
        """Return the tree's inputs, as JSON, for the manifest: the parts of its key and their origin."""

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree, from the cache or freshly made."""


@dataclass(frozen=True, slots=True)
class Request:
    """The input for planning a tree.

    `kernel` is the one that the tree gets, unless it keeps its own. `parent` is the image of another recipe on which
    this one is based, already built.
    """

    loaded: Loaded
    kernel: KernelSpec
    stages: Stages
    log_dir: Path
    accelerator: ApplianceAccelerator
    parent: OriginalImage | None = None
    #: The packages of the lock, None to have apt select them.
    locked: Lock | None = None


class Source(Protocol):
    """A source: a module of this package, named by the registry."""

    @property
    def MODEL(self) -> type[Model]:  # noqa: N802
        """The keys of a recipe that it reads."""

    def problems(self, loaded: Loaded) -> Iterable[Problem]:
        """Return the problems of a recipe with this source that can be found before anything is fetched or made."""

    def plan(self, request: Request) -> RootTree:
        """Return the root tree of a recipe; reads its content information, and fetches files with a URL."""

    def items(self, loaded: Loaded) -> Iterable[Item]:
        """Return what the source itself adds to the tree."""
