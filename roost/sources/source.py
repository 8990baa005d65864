"""What every source of a root tree is to the rest: a key, a time, and a canonical tar.

A source knows its inputs before anything is made; its key is theirs, so that what was made before is used again.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any, Protocol

from roost.events import Stages
from roost.store.cache import Cache


class Source(Protocol):
    """A root tree that can be made."""

    @property
    def epoch(self) -> int:
        """The time that no file of the image is later than, in seconds since 1970."""

    @property
    def key(self) -> str:
        """The key of the tree."""

    def inputs(self) -> dict[str, Any]:
        """Return all that the tree depends on, as JSON: the parts of its key."""

    def make(self, cache: Cache, stages: Stages, log_dir: Path) -> Path:
        """Return the tar of the tree, from the cache or freshly made."""
