"""Tiny guests for tests of the test boot: a kernel of the host, busybox, and an /init that does one thing."""

from __future__ import annotations

import subprocess
from collections.abc import Sequence
from pathlib import Path

from roost.boot import host_kernels
from roost.condor.machine import MachineKernel, VirtualMachine, VmDisk
from tests.images.calls import busybox

#: What the guest needs to see a virtio disk and to mount ext4.
DRIVERS = ("virtio_pci", "virtio_blk", "crc32c_generic", "ext4")

PREAMBLE = """\
#!/bin/sh
/bin/busybox mkdir -p /proc /sys /dev /mnt /bin
/bin/busybox --install -s /bin
export PATH=/bin
mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t devtmpfs devtmpfs /dev
exec </dev/console >/dev/console 2>&1
while read -r module; do insmod "/modules/$module"; done </modules/order
"""


def kernel() -> Path:
    """Return a kernel of the host whose modules are there too."""
    found = [path for path in host_kernels.kernels() if (Path("/lib/modules") / _version(path)).is_dir()]
    assert found, "this test needs a kernel with its modules (apt-get install linux-image-amd64)"
    return found[0]


def _version(path: Path) -> str:
    return path.name.removeprefix("vmlinuz-")


def initrd(path: Path, script: str, drivers: Sequence[str] = DRIVERS) -> Path:
    """Write an initrd whose /init loads the drivers and runs `script`."""
    root = path.with_suffix(".tree")
    (root / "bin").mkdir(parents=True)
    (root / "modules").mkdir()
    (root / "bin/busybox").write_bytes(busybox())
    (root / "bin/busybox").chmod(0o755)
    (root / "bin/sh").symlink_to("busybox")
    order: list[str] = []
    for driver in drivers:
        listed = subprocess.run(
            ["modprobe", "-S", _version(kernel()), "--show-depends", driver], capture_output=True, text=True, check=True
        )
        for line in listed.stdout.splitlines():
            word, _, file = line.strip().partition(" ")
            if word == "insmod" and Path(file).name not in order:
                order.append(Path(file).name)
                (root / "modules" / Path(file).name).write_bytes(Path(file).read_bytes())
    (root / "modules/order").write_text("".join(f"{name}\n" for name in order))
    (root / "init").write_text(PREAMBLE + script)
    (root / "init").chmod(0o755)
    names = "".join(f"{entry.relative_to(root)}\n" for entry in sorted(root.rglob("*")))
    archive = subprocess.run(
        ["cpio", "--quiet", "-o", "-H", "newc"], cwd=root, input=names.encode(), capture_output=True, check=True
    )
    path.write_bytes(archive.stdout)
    return path


def ext4(path: Path, size: str = "16M") -> Path:
    """Write a raw disk that is one ext4 file system, labelled io."""
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "io", str(path), size], check=True)
    return path


def machine(
    directory: Path,
    script: str,
    *,
    disks: Sequence[VmDisk] = (),
    drivers: Sequence[str] = DRIVERS,
    parameters: str = "",
) -> VirtualMachine:
    """Return a machine, its files in `directory`, that starts the host's kernel directly and runs `script`.

    Without `disks` it has one, `io.raw`, an empty ext4.
    """
    initrd(directory / "initrd.img", script, drivers)
    if not (directory / "vmlinuz").exists():
        (directory / "vmlinuz").write_bytes(kernel().read_bytes())
    if not disks:
        ext4(directory / "io.raw")
        disks = (VmDisk("io.raw", "vda", "w", "raw"),)
    files = MachineKernel("vmlinuz", "initrd.img", "/dev/vda", f"console=ttyS0,115200 {parameters}".strip())
    return VirtualMachine("guest", "kvm", 256, 1, tuple(disks), kernel=files)
