"""A writable disk after the run: overwritten, damaged, unmounted or not, by the file systems' own checkers."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from roost.boot import integrity
from roost.boot.evidence import Evidence
from roost.boot.verdict import judge
from roost.host import process
from roost.verify import structure
from roost.verify.evidence import FileSystem, StoppedDisk
from tests.unit.boot.test_verdict import DONE, INIT, KERNEL, OFF, recorded

MAKE: dict[str, tuple[str, ...]] = {
    "ext4": ("mke2fs", "-q", "-F", "-t", "ext4"),
    "vfat": ("mkfs.vfat",),
    "xfs": ("mkfs.xfs", "-q", "-f"),
    "btrfs": ("mkfs.btrfs", "-q", "-f"),
    "swap": ("mkswap", "-q"),
}
SIZE = {"xfs": 300 << 20, "btrfs": 160 << 20}


def _run(*argv: str, stdin: bytes = b"") -> None:
    subprocess.run(argv, input=stdin, capture_output=True, check=True)


def make(kind: str, path: Path) -> Path:
    """Write a file system of a kind into a new sparse file."""
    if process.which(MAKE[kind][0]) is None:
        pytest.skip(f"needs {MAKE[kind][0]}")
    with path.open("wb") as file:
        file.truncate(SIZE.get(kind, 32 << 20))
    subprocess.run([*MAKE[kind], str(path)], check=True, capture_output=True, env=process.environment())
    return path


def noise(path: Path, offset: int, size: int) -> None:
    """Write noise over a part of a file."""
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(os.urandom(size))


def run(image: Path, change: Callable[[Path], object] | None, *, off: bool = True) -> tuple[FileSystem, ...]:
    """Return what is judged of a disk whose guest made a change."""
    after = image.with_name("after.raw")
    _run("cp", "--sparse=always", str(image), str(after))
    if change:
        change(after)
    disks = [
        StoppedDisk("io.raw", {"driver": "raw", "file": {"driver": "file", "filename": str(path)}}, image.parent, name)
        for path, name in ((image, "vdb-before"), (after, "vdb"))
    ]
    return integrity.judged(*disks, off=off)


def verdict(found: tuple[FileSystem, ...]) -> Evidence:
    """Return the evidence of a run that did all else right."""
    return recorded(DONE, events=OFF, filesystems=found)


@pytest.mark.parametrize("kind", list(MAKE))
def test_what_a_guest_left_in_order(kind: str, tmp_path: Path) -> None:
    (found,) = run(make(kind, tmp_path / "io.raw"), None)
    assert found.clean is True, found
    assert judge(verdict((found,))).passed


@pytest.mark.parametrize("kind", list(MAKE))
def test_noise_over_the_whole_disk(kind: str, tmp_path: Path) -> None:
    """No superblock is left: nothing to call dirty, and nothing that comes back."""
    found = run(make(kind, tmp_path / "io.raw"), lambda path: noise(path, 0, 1 << 20))
    assert [(one.clean, one.lost) for one in found] == [(False, True)]
    assert judge(verdict(found)).cause == "dirty-filesystem"
    assert "before the run" in judge(verdict(found)).detail


@pytest.mark.parametrize(
    ("kind", "offset", "size"),
    [("ext4", 4096, 1 << 20), ("vfat", 2048, 60000), ("xfs", 4096, 2 << 20), ("btrfs", 1 << 20, 100 << 20)],
)
def test_noise_behind_the_superblock(kind: str, offset: int, size: int, tmp_path: Path) -> None:
    found = run(make(kind, tmp_path / "io.raw"), lambda path: noise(path, offset, size))
    assert judge(verdict(found)).cause == "dirty-filesystem", found


def test_a_partition_and_its_table(tmp_path: Path) -> None:
    image = tmp_path / "root.raw"
    part = make("ext4", tmp_path / "part")
    with image.open("wb") as file:
        file.truncate(80 << 20)
    _run("sfdisk", "-q", str(image), stdin=b"label: gpt\nstart=1MiB, size=32MiB\nstart=40MiB, size=32MiB\n")
    for start in (1 << 20, 40 << 20):
        _run("dd", f"if={part}", f"of={image}", f"seek={start}", "oflag=seek_bytes", "conv=notrunc,sparse", "bs=64K")
    assert [one.clean for one in run(image, None)] == [True, True]
    second = run(image, lambda path: noise(path, 40 << 20, 1 << 20))
    assert [(one.partition, one.clean) for one in second if one.lost] == [(2, False)]
    table = run(image, lambda path: noise(path, 0, 1 << 20))
    assert {one.partition for one in table if one.lost} == {1, 2}
    zeros = run(image, lambda path: path.write_bytes(b"\0" * (80 << 20)))
    assert {one.partition for one in zeros if one.lost} == {1, 2}


def test_a_partition_that_holds_no_file_system_by_design_is_not_noted(tmp_path: Path) -> None:
    """GRUB's core on a GPT disk, and a swap that nobody made; of another, the note names the partition."""
    image, part = tmp_path / "root.raw", make("ext4", tmp_path / "part")
    with image.open("wb") as file:
        file.truncate(80 << 20)
    bios, swap = "21686148-6449-6E6F-744E-656564454649", "0657FD6D-A4AB-43C4-84E5-0933C84B4F4F"
    table = f"label: gpt\nsize=1MiB, type={bios}\nsize=4MiB, type={swap}\nsize=4MiB\nstart=40MiB, size=32MiB\n"
    _run("sfdisk", "-q", str(image), stdin=table.encode())
    noise(image, 1 << 20, 1 << 20)
    _run("dd", f"if={part}", f"of={image}", f"seek={40 << 20}", "oflag=seek_bytes", "conv=notrunc,sparse", "bs=64K")
    found = run(image, None)
    assert [(one.partition, one.clean) for one in found] == [(3, None), (4, True)]
    answer = judge(verdict(found))
    assert answer.passed
    (note,) = (note for note in answer.notes if "not judged" in note)
    assert note == "io.raw partition 3: it holds no file system that roost knows: not judged"


def test_a_disk_that_never_held_anything_is_said(tmp_path: Path) -> None:
    image = tmp_path / "io.raw"
    image.write_bytes(b"\0" * (1 << 20))
    found = run(image, lambda path: noise(path, 0, 4096))
    answer = judge(verdict(found))
    assert answer.passed
    assert any("io.raw" in note and "not judged" in note for note in answer.notes)


def test_a_disk_that_the_job_set_up_anew(tmp_path: Path) -> None:
    blank = tmp_path / "io.raw"
    blank.write_bytes(b"\0" * (32 << 20))
    assert [one.clean for one in run(blank, lambda path: make("ext4", path))] == [True]
    assert [one.clean for one in run(make("vfat", tmp_path / "fat"), lambda path: make("ext4", path))] == [True]


def test_a_machine_that_was_cut_off_is_not_judged_but_for_what_is_gone(tmp_path: Path) -> None:
    image = make("ext4", tmp_path / "io.raw")
    damaged = run(image, lambda path: noise(path, 4096, 1 << 20), off=False)
    assert [one.lost for one in damaged] == [False]
    gone = run(image, lambda path: noise(path, 0, 1 << 20), off=False)
    console = KERNEL + INIT + "host login: "
    login = recorded(console, goal="login", button=True, stop="button-ignored", filesystems=gone)
    assert judge(login).cause == "dirty-filesystem"


def test_a_read_only_file_system_stays_as_it_is(tmp_path: Path) -> None:
    if process.which("mkfs.erofs") is None:
        pytest.skip("needs mkfs.erofs")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/file").write_bytes(os.urandom(50000))
    image = tmp_path / "io.raw"
    _run("mkfs.erofs", str(image), str(tmp_path / "tree"))
    assert [one.clean for one in run(image, None)] == [True]
    assert [one.clean for one in run(image, lambda path: noise(path, 20000, 100))] == [False]


def test_a_read_only_file_system_in_a_partition_of_a_throw_away_overlay_is_as_it_was(tmp_path: Path) -> None:
    """As a test boot has it: the disk with a table, and a qcow2 overlay over it."""
    if process.which("mkfs.erofs") is None:
        pytest.skip("needs mkfs.erofs")
    (tmp_path / "tree").mkdir()
    (tmp_path / "tree/hello").write_text("packed\n")
    _run("mkfs.erofs", str(tmp_path / "part"), str(tmp_path / "tree"))
    image, layer = tmp_path / "packed.raw", tmp_path / "layer"
    with image.open("wb") as file:
        file.truncate(2 << 20)
        file.seek(1 << 20)
        file.write((tmp_path / "part").read_bytes())
    _run("sfdisk", "-q", str(image), stdin=b"label: dos\nstart=2048, size=2048, type=83\n")
    # Holes, as the writers leave them.
    _run("fallocate", "--dig-holes", str(image))
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(image), "-F", "raw", str(layer))

    def judged() -> list[bool | None]:
        raw = {"driver": "raw", "file": {"driver": "file", "filename": str(image)}}
        qcow2 = {"driver": "qcow2", "file": {"driver": "file", "filename": str(layer)}}
        before = StoppedDisk("packed.raw", raw, tmp_path, "vdd-before")
        after = StoppedDisk("packed.raw", qcow2, tmp_path, "vdd")
        return [one.clean for one in integrity.judged(before, after, off=True)]

    assert judged() == [True]
    _run("qemu-io", "-f", "qcow2", "-c", f"write -P 7 {(1 << 20) + 20480} 512", str(layer))
    assert judged() == [False]


def test_a_checker_that_is_absent_or_fails_judges_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image = make("ext4", tmp_path / "io.raw")
    for name, script in (("fails", "exit 8"), ("killed", "kill -9 $$")):
        directory = tmp_path / name
        directory.mkdir()
        (directory / "e2fsck").write_text(f"#!/bin/sh\n{script}\n")
        (directory / "e2fsck").chmod(0o755)
        with monkeypatch.context() as patch:
            patch.setenv("PATH", f"{directory}:{os.environ['PATH']}")
            found = structure.check("ext", image)
            assert found[0] is None, found
    with monkeypatch.context() as patch:
        patch.setattr(process, "which", lambda tool: None)
        assert structure.check("ext", image)[0] is None
        assert "e2fsprogs" in structure.check("ext", image)[1]


def test_files_deleted_while_open_are_not_damage(tmp_path: Path) -> None:
    """As a root file system has them that was made read-only at the power-off: the next mount removes them."""
    image = make("ext4", tmp_path / "io.raw")
    (tmp_path / "f").write_text("x")
    _run("debugfs", "-w", "-R", f"write {tmp_path}/f f", str(image))
    _run("debugfs", "-w", "-f", "-", str(image), stdin=b"sif f links_count 0\nunlink f\nssv last_orphan 12\n")
    assert structure.check("ext", image)[0] is True


def test_every_checker_that_is_used_exists_in_the_list() -> None:
    assert {"ext", "vfat", "xfs", "btrfs"} == structure.CHECKED
