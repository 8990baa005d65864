"""The root tree that the disks are filled from: the result of the root file system's stage."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class DeviceNode:
    """A device node of the image; `path` is absolute in the image, `mode` the permission bits.

    Device nodes are not part of the tree, because mknod(2) fails in a user namespace: they are written into the file
    system itself, the same for root and for a normal user.
    """

    path: str
    type: Literal["c", "b", "p"]
    major: int = 0
    minor: int = 0
    mode: int = 0o600
    uid: int = 0
    gid: int = 0


@dataclass(frozen=True, slots=True)
class TreeInfo:
    """An unpacked tree at `path`, with the owners of the image when seen from the build's namespace.

    `kernel` and `initrd` are absolute paths in the image, None when there is none. `seed` is a directory with the files
    of the disk with role seed, if the recipe has one.
    """

    path: Path
    devices: tuple[DeviceNode, ...] = ()
    kernel: str | None = None
    initrd: str | None = None
    seed: Path | None = None
