"""Where two files differ is told: the first byte, the partition, the file in it, the member of an initrd."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from roost.verify import difference
from roost.verify.difference import Difference

MIB = 1 << 20


def _pair(tmp_path: Path, one: bytes, other: bytes) -> tuple[Path, Path]:
    paths = tmp_path / "one", tmp_path / "other"
    for path, data in zip(paths, (one, other), strict=True):
        path.write_bytes(data)
    return paths


def _found(tmp_path: Path, paths: tuple[Path, Path], kind: str) -> Difference:
    found = difference.of_files(*paths, kind, tmp_path, tmp_path / "log")
    assert found is not None
    return found


def test_the_same_is_not_a_difference(tmp_path: Path) -> None:
    paths = _pair(tmp_path, b"x" * 5000, b"x" * 5000)
    assert difference.of_files(*paths, "raw", tmp_path, tmp_path / "log") is None


@pytest.mark.parametrize(
    ("one", "other", "offset", "blocks"),
    [
        (b"x1", b"x2", 1, 1),
        (b"x" * 9000, b"x" * 9000 + b"y", 9000, 1),
        (b"", b"z", 0, 1),
        (bytes(3 * MIB), bytes(2 * MIB) + b"\1" + bytes(MIB - 1), 2 * MIB, 1),
        (b"a" * 8192, b"b" * 8192, 0, 2),
    ],
)
def test_the_first_byte_and_how_much(one: bytes, other: bytes, offset: int, blocks: int, tmp_path: Path) -> None:
    found = _found(tmp_path, _pair(tmp_path, one, other), "kernel")
    assert (found.offset, found.blocks) == (offset, blocks)


def test_a_line_of_a_text(tmp_path: Path) -> None:
    assert _found(tmp_path, _pair(tmp_path, b"a\nb\nc\n", b"a\nb\nd\n"), "text").where == ("line 3",)


@pytest.fixture
def disks(tmp_path: Path) -> tuple[Path, Path]:
    """Two disks with a partition each, whose one file `deep/file` differs."""
    paths = tmp_path / "one.raw", tmp_path / "other.raw"
    for number, disk in enumerate(paths):
        tree = tmp_path / f"tree{number}"
        (tree / "deep").mkdir(parents=True)
        (tree / "deep/file").write_text(f"{number}\n")
        disk.write_bytes(bytes(9 * MIB))
        subprocess.run(["sfdisk", "-q", disk], input=b"label: dos\nlabel-id: 0x1\nstart=2048\n", check=True)
        env = {"E2FSPROGS_FAKE_TIME": "1", "PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}
        options = f"offset={MIB},hash_seed=00000000-0000-4000-8000-000000000000"
        argv: list[str | Path] = ["mke2fs", "-q", "-t", "ext4", "-U", "clear", "-E", options, "-d", tree, disk, "8M"]
        subprocess.run(argv, check=True, env=env)
    return paths


def test_the_file_of_a_disk_is_named(disks: tuple[Path, Path], tmp_path: Path) -> None:
    where = _found(tmp_path, disks, "raw").where
    assert any(one.startswith("partition 1: ") and one.endswith("/deep/file") for one in where), where


def test_a_qcow2_is_looked_into(disks: tuple[Path, Path], tmp_path: Path) -> None:
    packed = tmp_path / "one.qcow2", tmp_path / "other.qcow2"
    for raw, qcow2 in zip(disks, packed, strict=True):
        subprocess.run(["qemu-img", "convert", "-O", "qcow2", raw, qcow2], check=True)
    found = _found(tmp_path, packed, "qcow2")
    assert any(one.endswith("/deep/file") for one in found.where) and not found.content
    subprocess.run(["qemu-img", "convert", "-c", "-O", "qcow2", disks[0], packed[1]], check=True)
    found = _found(tmp_path, packed, "qcow2")
    assert found.content and "the disks hold the same" in found.where[0]


def test_the_boot_loader_of_a_disk_is_named(disks: tuple[Path, Path], tmp_path: Path) -> None:
    other = tmp_path / "third.raw"
    data = bytearray(disks[0].read_bytes())
    data[600] = 1
    other.write_bytes(data)
    found = _found(tmp_path, (disks[0], other), "raw")
    assert found.offset == 600 and found.where == ("byte 0: the partition table or the boot loader",)


def test_a_member_of_an_initrd_is_named(tmp_path: Path) -> None:
    paths = tmp_path / "one", tmp_path / "other"
    for number, path in enumerate(paths):
        tree = tmp_path / f"initrd{number}"
        tree.mkdir()
        (tree / "init").write_text("same")
        (tree / "modules").write_text(str(number))
        names = b".\ninit\nmodules\n"
        with path.open("wb") as file:
            subprocess.run(["cpio", "--quiet", "-o", "-H", "newc"], cwd=tree, input=names, stdout=file, check=True)
    assert _found(tmp_path, paths, "initrd").where == ("modules",)


def test_what_cannot_be_read_is_said(tmp_path: Path) -> None:
    found = _found(tmp_path, _pair(tmp_path, b"no initrd", b"nor this"), "initrd")
    assert found.offset == 2 and found.where[0].startswith("cannot be read: ")
