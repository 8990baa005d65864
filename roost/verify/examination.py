"""The input of every check of finished disks: the recipe, the open disks, and the findings so far."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from roost.host.guestfs import Guest
from roost.recipe.model import Disk, Partition, Recipe
from roost.verify import existing


@dataclass(frozen=True, slots=True)
class Promised:
    """A file system that the recipe promises, and the device on which it should be."""

    disk: Disk
    index: int
    area: Partition
    device: str
    id: str

    @property
    def name(self) -> str:
        what = self.area.mount or self.area.label or self.area.filesystem
        return f"disk {self.disk.name}, {what}"


@dataclass(slots=True)
class Examination:
    """The finished disks, open; `wrong` are the differences from the recipe, `findings` what was confirmed."""

    recipe: Recipe
    guest: Guest
    wrong: list[str] = field(default_factory=list)
    findings: list[str] = field(default_factory=list)
    facts: dict[str, Any] = field(default_factory=dict)
    #: The file systems on the disk of an existing image.
    seen: list[existing.Seen] = field(default_factory=list)

    @property
    def boots(self) -> bool:
        """Whether the image must boot by itself: with its own kernel and grub.cfg."""
        return self.recipe.kernel.placement != "external"
