"""An existing image open for editing: its parts mounted in the appliance, its paths, and its notes.

The image's root is mounted in the appliance, on a layer of roost's own. No program of the image runs on this host; its
programs run in the appliance, only for `services` and `run`.
"""

from __future__ import annotations

import stat
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from roost.customize import overlay
from roost.customize.inside import Inside
from roost.customize.overlay import Item
from roost.errors import ImageError
from roost.existing.inspection import System
from roost.host.guestfs import Guest
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe

#: Maximum bytes of a text that is edited.
LIMIT = 4 << 20


@dataclass(slots=True)
class Editor:
    """One image that is being edited; its parts are mounted."""

    loaded: Loaded
    guest: Guest
    system: System
    epoch: int
    #: A directory for files to transfer.
    work: Path
    log: Path
    inside: Inside = field(init=False)
    notes: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.inside = Inside(self.guest)

    @property
    def recipe(self) -> Recipe:
        """The recipe."""
        return self.loaded.recipe

    def read(self, path: str) -> str | None:
        """Return a regular file's text, links followed inside the image; None when it does not exist."""
        seen = self.guest.stat(path)
        if seen is not None and stat.S_ISREG(seen.mode) and seen.size > LIMIT:
            raise ImageError(f"{path} of the image has {seen.size} bytes: too large for a configuration file")
        return self.text(path, LIMIT)

    def write(self, path: str, text: str) -> None:
        """Overwrite a file, or the target of a link; owner and mode are kept."""
        self.guest.write(self.inside.resolve(path, last=True), text.encode("utf-8", "surrogateescape"))

    def lay(self, items: Sequence[Item]) -> None:
        """Put items into the image, at the paths that its links lead to."""
        placed = self.inside.place(items)
        if placed:
            tar = self.work / "overlay.tar"
            overlay.write(placed, tar, self.epoch)
            self.guest.lay(tar)
            tar.unlink()

    def exists(self, path: str) -> bool:
        """Return whether a path exists."""
        return self.inside.kind(self.inside.resolve(path, last=True)) != ""

    def text(self, path: str, most: int) -> str | None:
        """Return a regular file's text, None when it does not exist or has more than `most` bytes."""
        seen = self.guest.stat(path)
        if seen is None or not stat.S_ISREG(seen.mode) or seen.size > most:
            return None
        return self.guest.read(path, seen.size).decode("utf-8", "surrogateescape")
