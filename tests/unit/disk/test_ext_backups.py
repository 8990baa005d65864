"""File systems that come out the same whichever release of e2fsprogs wrote them, with the real tools."""

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from roost.disk import ext, ext_backups, ext_space, geometry
from roost.disk.ext import FileSystemSource, Identity
from roost.disk.layout import Extent, MiB
from roost.disk.measure import Content, Entry
from roost.disk.tools import Tools
from roost.errors import ImageError
from roost.host.namespace import Namespace

IDENTITY = Identity(UUID(int=1), UUID(int=2), None, 1_700_000_000)
ROOT = Entry(b"", "d", "0", 2, 0, 0o755, 0, 0, 5)
#: Six groups of so many blocks of 4 KiB, the last one short; 1, 3 and 5 have backups.
PER_GROUP, SIZE = 8192, 175 * MiB
BACKUPS = (1, 3, 5)


class Plain(Namespace):
    """No namespace: the tools run as they are."""

    def argv(self, argv: Any) -> list[str]:
        return [str(arg) for arg in argv]


def _run(*argv: str, text: str = "") -> str:
    done = subprocess.run(argv, input=text, check=True, capture_output=True, text=True)
    return done.stdout + done.stderr


def _made(directory: Path, kind: Any, offset: int) -> Extent:
    """Write a file system, as mke2fs of this host leaves it, to `directory`/d.raw."""
    directory.mkdir(exist_ok=True)
    disk = directory / "d.raw"
    with disk.open("wb") as file:
        file.truncate(offset + SIZE)
    tree = directory / "tree"
    tree.mkdir()
    (tree / "file").write_bytes(b"x" * 10000)
    os.utime(tree / "file", (5, 5))
    at = Extent(offset, SIZE)
    argv = ext.mke2fs_argv(str(disk), at, geometry.for_size(kind, Content(10, 10), SIZE), IDENTITY, tree)
    argv[1:1] = ["-g", str(PER_GROUP)]
    environment = {"MKE2FS_CONFIG": str(ext.CONFIGURATION), "E2FSPROGS_FAKE_TIME": str(IDENTITY.epoch)}
    subprocess.run(argv, check=True, capture_output=True, env={"PATH": "/usr/sbin:/usr/bin:/sbin", **environment})
    return at


def _settled(directory: Path, at: Extent) -> str:
    """Settle the file system and return the sum of the disk."""
    tools = Tools(Plain(user=False), IDENTITY.epoch, directory)
    ext.settle(directory / "d.raw", at, IDENTITY.epoch, FileSystemSource(directory / "tree", ROOT), tools)
    with (directory / "d.raw").open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _flags(disk: Path, at: Extent) -> list[int]:
    """Return the flags of each group's descriptor (64 bytes each, from block 1 on)."""
    with disk.open("rb") as file:
        file.seek(at.offset + 4096)
        return [struct.unpack_from("<H", file.read(64), 0x12)[0] for _ in range(6)]


@pytest.mark.parametrize("offset", [0, MiB])
def test_releases_of_mke2fs_that_leave_other_bitmaps_unwritten_make_no_difference(tmp_path: Path, offset: int) -> None:
    sums = set()
    for name in ("left", "written"):
        at = _made(tmp_path / name, "ext4", offset)
        disk = tmp_path / name / "d.raw"
        flags = _flags(disk, at)
        # Groups that hold nothing but a backup: e2fsprogs 1.47.0 leaves their bitmaps unwritten, 1.47.2 does not. The
        # last group's is always written.
        script = ["ssv kbytes_written 77" if name == "left" else "ssv kbytes_written 78"]
        for group in BACKUPS[:-1]:
            new = flags[group] | 2 if name == "left" else flags[group] & ~2
            script += [f"set_block_group {group} flags {new}", f"set_block_group {group} checksum calc"]
        _run("debugfs", "-w", "-f", "-", f"{disk}?offset={offset}", text="\n".join([*script, "freeb 1", "setb 1", ""]))
        _run("e2fsck", "-fn", f"{disk}?offset={offset}")
        assert {bool(_flags(disk, at)[group] & 2) for group in BACKUPS[:-1]} == {name == "left"}
        with disk.open("r+b") as file:
            # The backups have them as well, as mke2fs writes them.
            file.seek(at.offset + 4096)
            table = file.read(4096)
            for group in BACKUPS:
                file.seek(at.offset + group * PER_GROUP * 4096 + 4096)
                file.write(table)
        sums.add(_settled(tmp_path / name, at))
        assert _flags(disk, at) == [value & ~2 for value in flags]
    assert len(sums) == 1


def test_a_file_system_that_debugfs_does_not_open_is_an_error(tmp_path: Path) -> None:
    at = _made(tmp_path / "one", "ext4", MiB)
    with (tmp_path / "one" / "d.raw").open("r+b") as file:
        # A feature that nobody knows; debugfs says so, and ends with 0.
        file.seek(MiB + 1024 + 0x63)
        file.write(b"\x80")
    with pytest.raises(ImageError, match="debugfs could not open it"):
        _settled(tmp_path / "one", at)


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_each_copy_of_the_superblock_and_the_descriptors_is_sound(tmp_path: Path, kind: str) -> None:
    at = _made(tmp_path / "one", kind, 0)
    disk = tmp_path / "one" / "d.raw"
    _settled(tmp_path / "one", at)
    said = _run("e2fsck", "-fn", str(disk))
    assert "block bitmap" not in said.lower() and "checksum" not in said.lower(), said
    with disk.open("rb") as file:
        file.seek(4096)
        table = file.read(4096)
        for group in BACKUPS:
            file.seek(group * PER_GROUP * 4096 + 4096)
            assert file.read(4096) == table
    for group in BACKUPS:
        # From a backup debugfs expects the bitmaps of unused inodes, which mke2fs leaves unwritten: -n checks no sums.
        copy = ["debugfs", "-n", "-b", "4096", "-s", str(group * PER_GROUP), "-R"]
        assert _run(*copy, "cat /file", str(disk)).count("x") >= 10000
        lines = [set(_run(*argv, "stats -h", str(disk)).splitlines()) for argv in (["debugfs", "-R"], copy)]
        names = {line.split(":")[0].strip() for line in lines[0] ^ lines[1]}
        assert names <= {"Filesystem state", "Block group number", "Checksum"}


def test_a_backup_that_mke2fs_wrote_comes_out_byte_for_byte(tmp_path: Path) -> None:
    _made(tmp_path, "ext4", 0)
    with (tmp_path / "d.raw").open("rb") as file:
        for group in BACKUPS:
            file.seek(1024)
            first = file.read(1024)
            file.seek(group * PER_GROUP * 4096)
            assert ext_backups.backup(first, group, checksum=True) == file.read(1024)


def test_backups_lie_where_sparse_super_puts_them() -> None:
    assert list(ext_backups.backup_groups(1)) == []
    assert list(ext_backups.backup_groups(2)) == [1]
    assert list(ext_backups.backup_groups(82)) == [1, 3, 5, 7, 9, 25, 27, 49, 81]


def test_crc32c_is_that_of_the_standard() -> None:
    # RFC 3720, B.4: 32 bytes of zeros, inverted at the end.
    assert ext_backups.crc32c(bytes(32)) ^ 0xFFFFFFFF == 0x8A9136AA
    assert ext_backups.crc32c(b"123456789") ^ 0xFFFFFFFF == 0xE3069283


def test_other_layouts_are_refused(tmp_path: Path) -> None:
    disk = tmp_path / "d.raw"
    for options in ("^resize_inode,meta_bg", "^sparse_super,^resize_inode"):
        disk.unlink(missing_ok=True)
        _run("mke2fs", "-q", "-F", "-t", "ext4", "-O", options, str(disk), "8M")
        before = disk.read_bytes()
        with pytest.raises(ImageError, match="not where expected"):
            ext_backups.renew(disk, Extent(0, 8 * MiB))
        assert disk.read_bytes() == before
    disk.write_bytes(bytes(8192))
    with pytest.raises(ImageError, match="no ext file system"):
        ext_backups.renew(disk, Extent(0, 8192))


def test_unwritten_bitmaps_are_reported_by_group(tmp_path: Path) -> None:
    at = _made(tmp_path, "ext4", MiB)
    flags = _flags(tmp_path / "d.raw", at)
    expected = tuple((group, value) for group, value in enumerate(flags) if value & 2)
    assert expected and ext_space.read_space(tmp_path / "d.raw", at).unwritten_bitmaps == expected
