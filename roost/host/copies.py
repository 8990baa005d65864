"""Copies of directories that hold disk images: holes stay holes, and shared blocks are shared where they can be."""

from __future__ import annotations

from pathlib import Path

from roost.host import process

#: Seconds for one copy.
DEADLINE = 1800


def tree(source: Path, target: Path) -> None:
    """Copy a directory to the new path `target`, with its modes and times; links are copied as links.

    `shutil.copytree` writes holes out: a sparse image of 1 GiB with 150 MiB in it would take 1 GiB.
    Raises `ToolError`, and `HostError` where there is no space.
    """
    argv: list[str | Path] = ["cp", "--archive", "--sparse=always", "--reflink=auto", "--no-target-directory", "--"]
    process.run([*argv, source, target], deadline=DEADLINE, what=f"cannot copy {source}")
