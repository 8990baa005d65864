"""Copies of directories with disk images: holes are kept, and blocks are shared where the file system can."""

from __future__ import annotations

from pathlib import Path

from roost.host import process

#: Seconds for one copy.
DEADLINE = 1800


def tree(source: Path, target: Path) -> None:
    """Copy a directory to the new path `target` with modes and times; links are copied as links.

    `shutil.copytree` writes holes out: a sparse image of 1 GiB with 150 MiB of data would take 1 GiB. Raises
    `ToolError`, or `HostError` when the disk is full.
    """
    argv: list[str | Path] = ["cp", "--archive", "--sparse=always", "--reflink=auto", "--no-target-directory", "--"]
    process.run([*argv, source, target], deadline=DEADLINE, what=f"cannot copy {source}")
