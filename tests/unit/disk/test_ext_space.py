"""The space of a file system inside a disk file, with the real tools of whatever version this machine has."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from roost.disk import ext_space, ext_superblock
from roost.disk.layout import Extent, MiB
from roost.errors import ImageError, RoostError


def _made(disk: Path, kind: str, offset: int, *options: str) -> Extent:
    tree = disk.parent / "tree"
    for number in range(40):
        (tree / f"d{number}").mkdir(parents=True)
        (tree / f"d{number}" / "file").write_text("x")
    disk.touch()
    argv = ["mke2fs", "-q", "-F", "-t", kind, "-E", f"offset={offset}", "-d", str(tree), *options, str(disk), "12M"]
    subprocess.run(argv, check=True, capture_output=True)
    return Extent(offset, 12 * MiB)


def _told(disk: Path, at: Extent) -> tuple[set[int], dict[str, int]]:
    """Return the free inodes and the numbers as dumpe2fs tells them, of a copy without anything before it."""
    bare = disk.with_name("bare")
    bare.write_bytes(disk.read_bytes()[at.offset :])
    text = subprocess.run(["dumpe2fs", bare.name], cwd=disk.parent, check=True, capture_output=True, text=True).stdout
    free: set[int] = set()
    for line in re.findall(r"(?m)^  Free inodes: (.*)$", text):
        for part in re.findall(r"(\d+)(?:-(\d+))?", line):
            free |= set(range(int(part[0]), int(part[1] or part[0]) + 1))
    return free, {name: int(value) for name, value in re.findall(r"(?m)^([A-Z][\w ]+): +(\d+)$", text)}


@pytest.mark.parametrize("offset", [0, 3 * MiB + 512 * 9])
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("ext2", ["-b", "1024"]),
        ("ext3", ["-m", "0"]),
        ("ext4", ["-b", "1024", "-N", "2000"]),
        ("ext4", ["-g", "1024", "-b", "4096", "-O", "^flex_bg"]),
    ],
)
def test_the_same_as_dumpe2fs_says(tmp_path: Path, kind: str, options: list[str], offset: int) -> None:
    disk = tmp_path / "odd ?name" / "d.raw"
    disk.parent.mkdir()
    at = _made(disk, kind, offset, *options)
    if offset % 1024 == 0:
        # A hole among the used ones.
        subprocess.run(
            ["debugfs", "-w", "-R", "rm /d7/file", ext_space.target(disk, at)],
            cwd=tmp_path,
            check=True,
            capture_output=True,
        )
    space = ext_space.read_space(disk, at)
    free, numbers = _told(disk, at)
    assert {inode for first, last in space.free_inode_ranges for inode in range(first, last + 1)} == free
    assert space.inodes == numbers["Inode count"]
    assert space.free_inodes == numbers["Free inodes"] == len(free)
    assert space.blocks == numbers["Block count"]
    assert space.free_blocks == numbers["Free blocks"] - numbers["Reserved block count"]


def test_what_is_not_a_file_system_is_an_error(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    disk.write_bytes(bytes(2 * MiB))
    with pytest.raises(RoostError, match=r"cannot read d\.raw"):
        ext_space.read_space(disk, Extent(MiB, MiB))


@pytest.mark.parametrize("length", [MiB + 1500, MiB + 4096, MiB + 4100])
def test_a_file_system_that_is_cut_off_is_an_error(tmp_path: Path, length: int) -> None:
    disk = tmp_path / "d.raw"
    at = _made(disk, "ext4", MiB, "-b", "4096")
    os.truncate(disk, length)
    with pytest.raises(ImageError, match=r"cannot read d\.raw"):
        ext_space.read_space(disk, at)


def test_a_bitmap_that_lies_is_an_error(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    at = _made(disk, "ext2", MiB, "-b", "4096")
    found = ext_superblock.read(disk, at)
    with disk.open("r+b") as file:
        file.seek(at.offset + found.table)
        first = next(found.described(file.read(found.groups * found.descriptor)))
        file.seek(at.offset + first.bitmap * 4096)
        file.write(b"\0\0")
    with pytest.raises(ImageError, match="do not match its superblock"):
        ext_space.read_space(disk, at)
