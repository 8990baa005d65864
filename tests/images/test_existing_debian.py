"""A Debian of other tools (mmdebstrap, virt-make-fs, its own grub-install): edited, and booted as HTCondor would."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from roost.host import guestfs
from roost.store import manifest
from tests.images.calls import roost
from tests.images.test_existing import RECIPE

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(2400)]

PACKAGES = "linux-image-cloud-amd64,grub-pc,systemd-sysv,udev,initramfs-tools,openssh-server,dbus,kmod,e2fsprogs"
#: What somebody's image has and roost's would not: an identity, a password, devices by name, a disk that is gone.
HOOKS = (
    'echo "root:secret" | chroot "$1" chpasswd',
    'echo foreign >"$1/etc/hostname"; echo 0123456789abcdef0123456789abcdef >"$1/etc/machine-id"',
    'mkdir -p "$1/srv/kept"; echo kept >"$1/srv/kept/file"; chown 33:33 "$1/srv/kept/file"',
)
FSTAB = "/dev/sda1 / ext4 errors=remount-ro 0 1\nUUID=11111111-2222-3333-4444-555555555555 /gone ext4 defaults 0 2\n"
#: Devices by name in grub.cfg too, whether or not there is a /dev/disk/by-uuid when grub-mkconfig runs: the quick
#: appliance has none, libguestfs' own has.
DEFAULTS = """\
GRUB_TIMEOUT=0
GRUB_DISABLE_OS_PROBER=true
GRUB_DISABLE_LINUX_UUID=true
GRUB_CMDLINE_LINUX_DEFAULT="quiet"
"""
#: With the system's own tools, as an installer does. The disk has another name in the appliance than in a machine.
INSTALL = """\
set -e
disk=$(df / | sed -n 's,^\\(/dev/[a-z]*\\).*,\\1,p')
grub-install --target=i386-pc "$disk"
update-grub
"""


@pytest.fixture(scope="module")
def foreign(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a qcow2 with a Debian and GRUB, made without roost."""
    if shutil.which("virt-make-fs") is None:
        pytest.fail("this test needs virt-make-fs: apt-get install guestfs-tools")
    directory = tmp_path_factory.mktemp("foreign")
    tar, disk = directory / "debian.tar", directory / "debian.qcow2"
    hooks = [f"--customize-hook={hook}" for hook in HOOKS]
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={PACKAGES}", *hooks, "bookworm", str(tar)]
    subprocess.run(argv, check=True, capture_output=True, timeout=900)
    env = {**os.environ, "LIBGUESTFS_BACKEND": "direct", "LIBGUESTFS_BACKEND_SETTINGS": "force_tcg"}
    subprocess.run(
        ["virt-make-fs", "--partition=mbr", "--type=ext4", "--format=qcow2", "--size=+500M", str(tar), str(disk)],
        check=True,
        capture_output=True,
        timeout=900,
        env=env,
    )
    tar.unlink()
    with guestfs.open_writable([(disk, "qcow2")], accelerator="tcg", log=directory / "log") as guest:
        guest.mount("/dev/sda1")
        guest.write("/etc/fstab", FSTAB.encode())
        guest.write("/etc/default/grub", DEFAULTS.encode())
        status, printed = guest.run(f"export PATH=/usr/sbin:/usr/bin:/sbin:/bin\n{INSTALL}", 600)
        assert status == 0, printed
        configuration = guest.read("/boot/grub/grub.cfg", 1 << 20)
        # The name that it has here only.
        assert b" root=/dev/sd" in configuration
        assert b"console=ttyS0" not in configuration
    return disk


def test_it_is_opened_customized_and_boots(foreign: Path, project: Path) -> None:
    before = hashlib.sha256(foreign.read_bytes()).hexdigest(), foreign.stat().st_mtime_ns
    expect = [
        *RECIPE["boot_test"]["expect"],
        {"file": "/etc/ran", "matches": "^systemd"},
        {"file": "/srv/kept/file", "matches": "^kept$"},
    ]
    recipe = {
        **RECIPE,
        "name": "foreign",
        "os": {"image": {"path": str(foreign), "sha256": before[0]}},
        "hostname": "edited",
        "kernel": {"parameters": ["net.ifnames=0"]},
        "users": [{"name": "job", "groups": ["audio"]}],
        "services": {"enable": ["ssh"]},
        "run": ["systemctl --version | head -n 1 >/etc/ran", "adduser --system --group sim"],
        "disks": [{"name": "root", "format": "qcow2", "size": "2GiB"}, *RECIPE["disks"][1:]],
        "machine": {"memory": "512MiB"},
        "boot_test": {"timeout": "2min", "evict": False, "expect": expect},
    }
    (project / "recipes/foreign.yaml").write_text(json.dumps(recipe))
    ran = roost("build", "foreign", "--json", cwd=project)
    assert ran.code == 0, ran.err
    assert (hashlib.sha256(foreign.read_bytes()).hexdigest(), foreign.stat().st_mtime_ns) == before
    for note in (
        "/dev/sda1 is now named by its UUID",
        "(/gone) is not on any disk",
        "kernels find their root by its UUID",
        "no console on the serial line",
        "locked",
    ):
        assert note in ran.err
    record = manifest.read(Path(ran.answer["folder"]))
    assert record is not None
    assert record.facts["os"]["ID"] == "debian"
    assert {"systemd", "grub-pc"} <= {package["name"] for package in record.facts["packages"]}
    assert record.facts["kernel"]["drivers"]["virtio"] == "module"
    assert all("cloud" in kernel["version"] for kernel in record.facts["kernels"])
    booted = roost("boot", "foreign", "--accel", "tcg", "--json", cwd=project)
    assert booted.code == 0, booted.out
    assert booted.answer["passed"]
