"""A real appliance that is saved and restored: disks are seen as after a boot, and a fault costs a boot and no more."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from roost.host import appliance, guestfs, guestfs_qemu, saved_appliance, saved_machines

pytestmark = pytest.mark.images

MiB = 1 << 20


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Return where libguestfs' log goes."""
    return tmp_path / "log"


@pytest.fixture
def quick(tmp_path: Path, log: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the quick appliance of the host, in a directory without saved machines."""
    made = appliance.path(log)
    assert made is not None
    directory = tmp_path / "appliance"
    directory.mkdir()
    for file in made.iterdir():
        if file.is_file():
            (directory / file.name).symlink_to(file)
    monkeypatch.setattr(appliance, "path", lambda _log: directory)
    # A machine that is busy with other tests is not at fault.
    monkeypatch.setattr(saved_appliance, "RESTORE", 100.0)
    monkeypatch.setattr(saved_appliance, "BOOT", 100.0)
    return directory


def _disks(folder: Path) -> list[Path]:
    """Return a file system and a partitioned disk, of a size that is no multiple of a sector or a MiB."""
    bare, parts = folder / "bare.raw", folder / "parts.raw"
    for path, size in ((bare, 8 * MiB), (parts, 5 * MiB + 700)):
        with path.open("wb") as file:
            file.truncate(size)
    subprocess.run(["mke2fs", "-q", "-F", "-t", "ext4", "-L", "seen", bare], check=True)
    subprocess.run(
        ["sfdisk", "-q", parts], input=b"label: gpt\nsize=1MiB, name=one\nsize=2MiB\n", check=True, stdout=-3
    )
    return [bare, parts]


def _look(images: list[Path], log: Path) -> dict[str, Any]:
    """Return what libguestfs sees of disks, and whether its kernel was booted for that."""
    log.unlink(missing_ok=True)
    with guestfs.open_readonly([(image, "raw") for image in images], accelerator="tcg", log=log) as guest:
        devices = guest.devices()
        clock = int(str(guest.call("debug", "sh", ["date +%s"])))
        assert abs(clock - time.time()) < 60
        seen = {
            "sizes": [guest.call("blockdev_getsize64", device) for device in devices],
            "partitions": guest.partitions(),
            "filesystems": guest.call("list_filesystems"),
            "label": guest.call("vfs_label", "/dev/sda"),
            "links": guest.call("debug", "sh", ["cd /dev/disk/by-path && ls -l | sed 's/.* scsi/scsi/'"]),
            "random": guest.call("debug", "sh", ["od -An -N 16 -tx1 /dev/urandom"]),
        }
    return {**seen, "booted": log.read_text(errors="replace").count("supermin")}


def _mine(folder: Path) -> list[str]:
    """Return the command lines of processes that use files of a directory."""
    said = subprocess.run(["ps", "-wweo", "args="], capture_output=True, text=True, check=True).stdout
    return [line for line in said.splitlines() if str(folder) in line]


def test_disks_are_seen_as_after_a_boot_and_a_damaged_state_costs_a_boot(
    quick: Path, tmp_path: Path, log: Path
) -> None:
    images = _disks(tmp_path)
    first = _look(images, log)
    (machine,) = (quick / saved_machines.DIRECTORY).iterdir()
    assert first.pop("booted")
    second, third = _look(images, log), _look(images, log)
    assert (second.pop("booted"), third.pop("booted")) == (0, 0)
    assert len({one.pop("random") for one in (first, second, third)}) == 3
    assert first == second == third
    other = _look(images[::-1], log)
    assert other["sizes"] == second["sizes"][::-1] == [5 * MiB + 1024, 8 * MiB]
    assert other["partitions"] == ["/dev/sda1", "/dev/sda2"]

    with (machine / guestfs_qemu.STATE).open("r+b") as file:
        file.seek(20 * MiB)
        file.write(b"damage")
    fourth = _look(images, log)
    assert fourth.pop("booted")
    fourth.pop("random")
    assert fourth == second
    assert "the saved appliance is not used" in log.read_text(errors="replace")
    assert [one.name for one in (quick / saved_machines.DIRECTORY).iterdir()] == [f"{machine.name}.unusable"]
    assert not _mine(tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_command_that_is_killed_while_it_saves_leaves_nothing(how: signal.Signals, quick: Path, log: Path) -> None:
    images = _disks(quick.parent)
    program = (
        "import sys; from pathlib import Path; from roost.host import appliance, guestfs\n"
        "appliance.path = lambda log: Path(sys.argv[1])\n"
        "with guestfs.open_readonly([(Path(sys.argv[2]), 'raw')], accelerator='tcg', log=Path(sys.argv[3])): pass\n"
    )
    command = subprocess.Popen(
        [sys.executable, "-P", "-c", program, quick, images[0], log],
        env={**os.environ, "PYTHONPATH": str(Path(saved_appliance.__file__).parents[2])},
    )
    ends = time.monotonic() + 100
    while not any(re.search(r"qemu-system.*disk\.qcow2", line) for line in _mine(quick)):
        assert command.poll() is None
        assert time.monotonic() < ends
        time.sleep(0.05)
    command.send_signal(how)
    command.wait(30)
    # libguestfs' own watcher looks every other second.
    ends = time.monotonic() + 20
    while _mine(quick) and time.monotonic() < ends:
        time.sleep(0.2)
    assert not _mine(quick)
    _look([images[0]], log)
    (machine,) = (quick / saved_machines.DIRECTORY).iterdir()
    assert (machine / guestfs_qemu.RECORD).exists()
