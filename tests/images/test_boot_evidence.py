"""What is read off disks after the stop: the state of file systems, files by any name, and nothing of hostile ones."""

from __future__ import annotations

import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from roost.host import paths
from roost.store.scratch import scratch_directory
from roost.verify.evidence import CONTENT, StoppedDisk

pytestmark = pytest.mark.images


def _run(*argv: str, stdin: str = "") -> None:
    subprocess.run(argv, input=stdin.encode(), capture_output=True, check=True)


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    """Return a directory with what a guest might leave."""
    tree = tmp_path / "tree"
    (tree / "sub dir").mkdir(parents=True)
    (tree / "result.txt").write_text("42\n")
    (tree / "sub dir" / 'odd "name" <7>').write_text("odd")
    (tree / "sub dir" / "up").symlink_to("../result.txt")
    (tree / "absolute").symlink_to("/sub dir/up")
    (tree / "loop").symlink_to("loop")
    (tree / "outside").symlink_to("../../../../etc/passwd")
    with (tree / "huge").open("wb") as file:
        file.write(b"begin")
        file.truncate(1 << 40)
    return tree


def _disk(path: Path, scratch: Path, format: str = "raw") -> StoppedDisk:
    layer = scratch / "vda.qcow2"
    _run("qemu-img", "create", "-q", "-f", "qcow2", "-b", str(path), "-F", format, str(layer))
    return StoppedDisk(
        path.name, {"driver": "qcow2", "file": {"driver": "file", "filename": layer.name}}, scratch, "vda"
    )


@pytest.fixture
def ext4(tree: Path, tmp_path: Path) -> Path:
    """Return a raw disk that is one ext4 file system with the tree in it."""
    image = tmp_path / "io.raw"
    _run("mke2fs", "-q", "-F", "-t", "ext4", "-d", str(tree), str(image), "32M")
    return image


def test_files_by_any_name(ext4: Path, tmp_path: Path) -> None:
    disk = _disk(ext4, tmp_path)
    assert [(one.type, one.clean) for one in disk.filesystems()] == [("ext", True)]
    assert disk.read(0, "/result.txt").content == b"42\n"
    assert disk.read(0, "/result.txt").mode == 0o644
    assert disk.read(0, '/sub dir/odd "name" <7>').content == b"odd"
    assert disk.read(0, "/sub dir/up").content == b"42\n"
    assert disk.read(0, "/absolute").content == b"42\n"


def test_what_is_not_a_file_is_said(ext4: Path, tmp_path: Path) -> None:
    disk = _disk(ext4, tmp_path)
    for path, why in (
        ("/absent", "no such file"),
        ("/sub dir", "directory"),
        ("/loop", "symlink"),
        ("/outside", "no such file"),
        ("/result.txt/below", "no such file"),
    ):
        found = disk.read(0, path)
        assert found.content is None, path
        assert why in found.seen, path
    assert disk.read(3, "/result.txt").content is None


def test_a_huge_file_costs_little(ext4: Path, tmp_path: Path) -> None:
    start = time.monotonic()
    found = _disk(ext4, tmp_path).read(0, "/huge")
    assert found.size == 1 << 40
    assert found.content is not None
    assert found.content.startswith(b"begin")
    assert len(found.content) <= CONTENT
    assert time.monotonic() - start < 10
    assert sum(path.stat().st_blocks for path in tmp_path.iterdir() if path.is_file()) * 512 < 64 << 20


@pytest.mark.parametrize("table", ["dos", "gpt"])
def test_partitions(table: str, ext4: Path, tmp_path: Path) -> None:
    image = tmp_path / "root.raw"
    with image.open("wb") as file:
        file.truncate(128 << 20)
    _run("sfdisk", "-q", str(image), stdin=f"label: {table}\nstart=1MiB, size=32MiB\nstart=64MiB, size=32MiB\n")
    swap = tmp_path / "swap"
    with swap.open("wb") as file:
        file.truncate(32 << 20)
    _run("mkswap", str(swap))
    with image.open("r+b") as file:
        file.seek(1 << 20)
        file.write(ext4.read_bytes())
        file.seek(64 << 20)
        file.write(swap.read_bytes())
    qcow2 = tmp_path / "root.qcow2"
    _run("qemu-img", "convert", "-O", "qcow2", str(image), str(qcow2))
    disk = _disk(qcow2, tmp_path, "qcow2")
    assert [(one.partition, one.type, one.clean) for one in disk.filesystems()] == [(1, "ext", True), (2, "swap", True)]
    assert disk.read(1, "/result.txt").content == b"42\n"
    assert disk.read(2, "/result.txt").content is None


@pytest.mark.parametrize(
    ("offset", "format", "value"),
    [(0x3A, "<H", 0), (0x3A, "<H", 3), (0x60, "<I", 0x2C6), (0x194, "<I", 1)],
    ids=["not-valid", "errors", "journal", "error-count"],
)
def test_unclean_ext4(offset: int, format: str, value: int, ext4: Path, tmp_path: Path) -> None:
    with ext4.open("r+b") as file:
        file.seek(1024 + offset)
        file.write(struct.pack(format, value))
    ((one),) = _disk(ext4, tmp_path).filesystems()
    assert (one.type, one.clean) == ("ext", False)


def test_vfat(tmp_path: Path, tree: Path) -> None:
    image = tmp_path / "io.raw"
    _run("mkfs.vfat", "-C", str(image), "16384")
    _run("mcopy", "-i", str(image), str(tree / "result.txt"), "::/result.txt")
    disk = _disk(image, tmp_path)
    assert [(one.type, one.clean) for one in disk.filesystems()] == [("vfat", True)]
    assert disk.read(0, "/result.txt").content == b"42\n"
    assert disk.read(0, "/absent").content is None
    with image.open("r+b") as file:
        file.seek(0x25)
        file.write(b"\x01")
    (tmp_path / "vda.qcow2").unlink()
    assert [one.clean for one in _disk(image, tmp_path).filesystems()] == [False]


@pytest.mark.parametrize("content", [b"", b"\xff" * 4096, b"\0" * 510 + b"\x55\xaa", b"\0" * 70000])
def test_nothing_that_is_known(content: bytes, tmp_path: Path) -> None:
    image = tmp_path / "data.raw"
    image.write_bytes(content.ljust(1 << 20, b"\0"))
    disk = _disk(image, tmp_path)
    assert disk.filesystems() == ()
    assert disk.read(0, "/x").content is None


def test_a_layer_that_cannot_be_read_is_not_a_crash(ext4: Path, tmp_path: Path) -> None:
    disk = _disk(ext4, tmp_path)
    (tmp_path / "vda.qcow2").write_bytes(b"broken")
    ((one),) = disk.filesystems()
    assert one.clean is None
    assert "cannot be read" in one.seen


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_boot_that_is_killed_leaves_nothing_running(
    how: signal.Signals, smoke: Path, project: Path, tmp_path: Path
) -> None:
    # An image of its own: a boot waits while another test boots or builds the one that all share.
    (project / "build").mkdir()
    subprocess.run(["cp", "-a", "--sparse=always", smoke, project / "build/smoke"], check=True)
    cache, said = tmp_path / "cache", tmp_path / "said"
    with said.open("wb") as file:
        roost = subprocess.Popen(
            [sys.executable, "-P", "-m", "roost", "boot", "smoke", "--accel", "tcg"],
            cwd=project,
            env={**os.environ, "ROOST_CACHE": str(cache)},
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
        )

    def machines() -> list[str]:
        done = subprocess.run(["pgrep", "-f", str(cache)], capture_output=True, text=True, check=False)
        return [pid for pid in done.stdout.split() if int(pid) != roost.pid]

    deadline = time.monotonic() + 120
    while not machines() and roost.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    assert machines(), f"QEMU never started: {said.read_text()}"
    roost.send_signal(how)
    roost.wait(30)
    time.sleep(0.5)
    assert machines() == []
    if how == signal.SIGTERM:
        assert list((cache / "boot").iterdir()) == []
    else:
        os.environ["ROOST_CACHE"], before = str(cache), os.environ.get("ROOST_CACHE")
        try:
            with scratch_directory() as scratch:
                assert [path for path in (paths.cache_root() / "boot").iterdir() if path != scratch] == []
        finally:
            del os.environ["ROOST_CACHE"]
            if before is not None:
                os.environ["ROOST_CACHE"] = before
