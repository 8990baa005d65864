"""Kernels of this host that can be used for a trial boot."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from roost.host import bzimage, paths


def kernels() -> Iterator[Path]:
    """Yield kernels to try, newest first: the host's own, those of built images, that of libguestfs' appliance."""
    places = (
        (Path("/boot"), "vmlinuz-*"),
        (Path("/lib/modules"), "*/vmlinuz"),
        (paths.project_root() / "build", "*/vmlinuz*"),
        (Path("/var/tmp"), ".guestfs-*/appliance.d/kernel"),
    )
    for directory, pattern in places:
        for path in sorted(directory.glob(pattern), key=_modified, reverse=True):
            if is_kernel(path):
                yield path


def _modified(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def is_kernel(path: Path) -> bool:
    """Return whether `path` is a readable x86 Linux kernel that root or this user wrote."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_uid not in (0, os.geteuid()):
                return False
            return bzimage.is_bzimage(file.read(1024))
    except OSError:
        return False
