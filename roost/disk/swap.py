"""Swap space, made by mkswap: only its first page has content."""

from __future__ import annotations

import tempfile
from pathlib import Path
from uuid import UUID

from roost.disk.layout import Extent
from roost.host import process

PAGE = 4096


def write(disk: Path, at: Extent, *, uuid: UUID, label: str | None, log_dir: Path) -> None:
    """Write swap space into the range `at` of the disk file.

    mkswap writes only to the start of a file, so it gets a sparse file of the right size, whose header is copied.
    """
    with tempfile.NamedTemporaryFile(dir=disk.parent, prefix=f".{disk.name}.swap-") as scratch:
        scratch.truncate(at.size)
        argv = ["mkswap", "--pagesize", str(PAGE), "--uuid", str(uuid)]
        if label:
            argv += ["--label", label]
        process.run(
            [*argv, scratch.name], deadline=60, log=log_dir / "mkswap.log", what=f"cannot make swap on {disk.name}"
        )
        scratch.seek(0)
        with disk.open("r+b") as file:
            file.seek(at.offset)
            file.write(scratch.read(PAGE))
