"""Limits and results of extracting a disk: files, bytes, what was left out and why, and what is lost."""

from __future__ import annotations

import os
from dataclasses import dataclass, field

from roost.errors import HostError
from roost.recipe.words import shown

#: The maximum number of names recorded as left out or lost.
NAMES = 1000
#: The free space on the host, in bytes, below which a failure is the host's fault.
ROOM = 1 << 20


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits on extracting one disk: files and directories, and bytes."""

    files: int
    size: int


@dataclass(slots=True)
class Extracted:
    """The numbers of extracted files and bytes, and what was not extracted.

    `files` and `size` count the output, `log` the bytes of the log.
    `left` counts what stays on the disk, by reason, and `left_names` has its paths. `damage` is what cannot be read,
    `limited` what exceeds the caller's limits, `incomplete` what a repair touched: messages for the user. `paths` are
    the paths by inode.
    """

    files: int = 0
    size: int = 0
    log: int = 0
    left: dict[str, int] = field(default_factory=dict)
    left_names: list[str] = field(default_factory=list)
    damage: list[str] = field(default_factory=list)
    limited: list[str] = field(default_factory=list)
    incomplete: list[str] = field(default_factory=list)
    paths: dict[int, bytes] = field(default_factory=dict)

    def leave(self, path: bytes, why: str, count: int = 1) -> None:
        """Count something that stays on the disk."""
        self.left[why] = self.left.get(why, 0) + count
        if len(self.left_names) < NAMES:
            self.left_names.append(path_text(path))

    def limit(self, path: bytes, why: str, count: int = 1) -> None:
        """Record something that exceeds the caller's limits."""
        self.leave(path, why, count)
        _keep(self.limited, f"{path_text(path)}: {why}")

    def lose(self, path: bytes, why: str) -> None:
        """Record something that cannot be read."""
        _keep(self.damage, f"{path_text(path)}: {why}")

    @property
    def notes(self) -> tuple[str, ...]:
        """What was left out, one line per reason."""
        return tuple(f"{count} left out: {why}" for why, count in sorted(self.left.items()))


def _keep(texts: list[str], text: str) -> None:
    if len(texts) < NAMES:
        texts.append(text)


def path_text(path: bytes) -> str:
    """Return a path of the disk, safe to print on one line."""
    return shown(os.fsdecode(path), 200)


def check_room(directory: str | os.PathLike[str], needed: int = ROOM) -> None:
    """Raise `HostError` when the file system of `directory` is so full that a tool may have failed because of it."""
    room = os.statvfs(directory)
    if room.f_bavail * room.f_frsize < needed or (room.f_files and not room.f_favail):
        raise HostError(
            f"no space is left in {os.fspath(directory)}",
            hint="free some space, or set TMPDIR to a directory with more",
        )
