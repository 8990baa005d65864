"""GRUB, written without mounting anything, boots a kernel from MBR and GPT disks in a plain QEMU."""

from __future__ import annotations

import os
import subprocess
import threading
from pathlib import Path

import pytest

from roost.disk import grub, write
from roost.disk.layout import boot_filesystem
from roost.disk.tools import Tools
from roost.disk.tree import TreeInfo
from roost.host import namespace
from roost.recipe.identity import filesystem_id
from roost.recipe.model import Recipe
from tests.images.calls import busybox

pytestmark = pytest.mark.images

KERNELS = sorted(Path("/boot").glob("vmlinuz-*"))
INIT = """#!/bin/busybox sh
/bin/busybox mkdir -p /proc
/bin/busybox mount -t proc proc /proc
echo "guest says: $(/bin/busybox cat /proc/cmdline)"
/bin/busybox poweroff -f
"""


@pytest.fixture(scope="module")
def boot_files(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A kernel of the host, and an initrd of busybox that shows its command line and powers off."""
    assert KERNELS, "this test needs a kernel in /boot (apt-get install linux-image-amd64)"
    root = tmp_path_factory.mktemp("initrd")
    (root / "bin").mkdir()
    (root / "bin/busybox").write_bytes(busybox())
    (root / "bin/busybox").chmod(0o755)
    (root / "init").write_text(INIT)
    (root / "init").chmod(0o755)
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"],
        cwd=root,
        input=b".\nbin\nbin/busybox\ninit\n",
        capture_output=True,
        check=True,
    ).stdout
    initrd = root.parent / "initrd.img"
    initrd.write_bytes(archive)
    return KERNELS[-1], initrd


@pytest.mark.parametrize(
    ("table", "mounts"),
    [("mbr", ["/"]), ("gpt", ["/"]), ("mbr", ["/", "/boot"]), ("gpt", ["/boot", "/"])],
    ids=["mbr", "gpt", "mbr-boot", "gpt-boot"],
)
def test_grub_boots(table: str, mounts: list[str], boot_files: tuple[Path, Path], tmp_path: Path) -> None:
    partitions = [{"mount": mount, "filesystem": "ext4", "free": "4MiB"} for mount in mounts]
    recipe = Recipe.model_validate(
        {
            "name": "grub-test",
            "os": {"tree": {"path": "tree"}},
            "disks": [{"name": "root", "table": table, "partitions": partitions}],
        }
    )
    tree = tmp_path / "tree"
    (tree / "boot/grub").mkdir(parents=True)
    kernel, initrd = boot_files
    (tree / "boot/vmlinuz-test").write_bytes(kernel.read_bytes())
    (tree / "boot/initrd-test").write_bytes(initrd.read_bytes())
    disk, index, mount = boot_filesystem(recipe)
    prefix = "/boot" if mount == "/" else ""
    (tree / "boot/grub/grub.cfg").write_text(
        grub.grub_cfg(
            recipe,
            f"{prefix}/vmlinuz-test",
            f"{prefix}/initrd-test",
            "console=ttyS0,115200 panic=-1 roost.$odd={a;b}",
            filesystem_id(recipe, disk, index),
        )
    )
    (written,) = write.write_disks(
        recipe, TreeInfo(tree), tmp_path, Tools(namespace.current(), 1_700_000_000, tmp_path / "log")
    )
    before = written.path.read_bytes()
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", "512", "-nographic", "-no-reboot", "-nic", "none"]
    argv += ["-drive", f"file={written.path},format=raw,if=virtio,snapshot=on"]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=120, check=True)
    console = done.stdout.decode("utf-8", "replace")
    assert "guest says: BOOT_IMAGE=" in console, console[-3000:]
    # GRUB's quoting arrives unchanged at the kernel.
    assert "panic=-1 roost.$odd={a;b}" in console
    assert written.path.read_bytes() == before


def test_a_disk_without_grub_cfg_says_so_on_the_serial_console(tmp_path: Path) -> None:
    recipe = Recipe.model_validate(
        {
            "name": "grub-test",
            "os": {"tree": {"path": "tree"}},
            "disks": [{"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "4MiB"}]}],
        }
    )
    (tmp_path / "tree").mkdir()
    (written,) = write.write_disks(
        recipe,
        TreeInfo(tmp_path / "tree"),
        tmp_path,
        Tools(namespace.current(), 1_700_000_000, tmp_path / "log"),
    )
    argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", "128", "-display", "none", "-serial", "stdio", "-nic", "none"]
    argv += ["-drive", f"file={written.path},format=raw,if=virtio,snapshot=on"]
    said = b""
    with subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE) as machine:
        assert machine.stdout is not None
        # GRUB waits at its prompt for ever.
        late = threading.Timer(120, machine.kill)
        late.start()
        while b"grub>" not in said and (data := os.read(machine.stdout.fileno(), 4096)):
            said += data
        late.cancel()
        machine.kill()
    assert b"grub>" in said, said[-3000:]
