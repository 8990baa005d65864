"""The start of the quick appliance: disks whose kernel names are not in the order of their addresses stop it."""

from __future__ import annotations

import shutil
import subprocess
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from roost.host import appliance, guestfs


def start(root: Path, disks: dict[str, str]) -> str:
    """Run the init over a tree that looks like /sys, /dev and /proc; `disks` is address -> kernel name.

    Return what it wrote. `guestfsd` and `mount` are stubs; whoever writes to sysrq-trigger has stopped.
    """
    for address, name in disks.items():
        (root / f"sys/class/scsi_device/{address}/device/block/{name}").mkdir(parents=True)
        (root / "dev/disk").mkdir(parents=True, exist_ok=True)
        (root / f"dev/{name}").touch()
    (root / "sys/class/virtio-ports/vport0p1").mkdir(parents=True)
    (root / "sys/class/virtio-ports/vport0p1/name").write_text("org.libguestfs.channel.0\n")
    (root / "proc").mkdir()
    (root / "proc/cmdline").write_text("quiet guestfs_channel=/dev/port\n")
    (root / "bin").mkdir()
    for tool in ("mount", "guestfsd", "sync"):
        (root / f"bin/{tool}").write_text(f'#!/bin/sh\necho {tool} "$@"\n')
        (root / f"bin/{tool}").chmod(0o755)
    script = appliance._INIT.decode()
    for place in ("/sys/", "/dev/", "/proc/"):
        for before in " =":
            script = script.replace(f"{before}{place}", f"{before}{root}{place}")
    # Here the kernel does not stop at once.
    script = script.replace(f"echo b > {root}/proc/sysrq-trigger", "exit 9")
    script = script.replace("PATH=", f"PATH={root}/bin:")
    done = subprocess.run(["sh", "-c", script], capture_output=True, text=True, check=False, timeout=30)
    assert done.stderr == ""
    return done.stdout


def test_disks_in_order_are_served_by_the_daemon(tmp_path: Path) -> None:
    names = {f"2:0:{number}:0": f"sd{letter}" for number, letter in enumerate("abcdefghijkl")}
    said = start(tmp_path, names)
    assert "guestfsd --channel" in said
    assert appliance.OUT_OF_ORDER not in said
    links = {one.name: str(one.readlink()) for one in (tmp_path / "dev/disk/by-path").iterdir()}
    assert links == {f"scsi-{address}": f"../../{name}" for address, name in names.items()}


def test_more_disks_than_letters_are_taken_as_they_are(tmp_path: Path) -> None:
    letters = [*"abcdefghijklmnopqrstuvwxyz", "aa", "ab"]
    said = start(tmp_path, {f"2:0:{number}:0": f"sd{name}" for number, name in enumerate(letters)})
    assert "guestfsd" in said


@pytest.mark.parametrize("names", ["ba", "acb", "bac"])
def test_disks_out_of_order_are_not_served(names: str, tmp_path: Path) -> None:
    said = start(tmp_path, {f"2:0:{number}:0": f"sd{letter}" for number, letter in enumerate(names)})
    assert appliance.OUT_OF_ORDER in said
    assert "guestfsd" not in said


def test_the_init_is_a_script_of_sh(tmp_path: Path) -> None:
    (tmp_path / "init").write_bytes(appliance._INIT)
    subprocess.run(["sh", "-n", tmp_path / "init"], check=True)
    if shutil.which("shellcheck"):
        subprocess.run(["shellcheck", "--severity=warning", tmp_path / "init"], check=True)


def test_several_builds_of_one_process_make_it_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kernel = appliance.HostKernel("6.1", tmp_path / "vmlinuz", tmp_path / "modules")
    made = []

    def build(_kernel: object, _directory: Path, work: Path, _log: Path | None) -> None:
        made.append(work)
        time.sleep(0.2)
        (work / "appliance").mkdir()
        (work / "appliance/README.fixed").touch()

    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(appliance, "supermin_directory", lambda: tmp_path)
    monkeypatch.setattr(appliance, "readable_kernel", lambda: kernel)
    monkeypatch.setattr(appliance, "_key", lambda *_: "key")
    monkeypatch.setattr(appliance, "_build", build)
    with ThreadPoolExecutor() as pool:
        list(pool.map(lambda _: guestfs.prepare(1, accelerator="kvm", log=tmp_path / "log"), range(4)))
    assert len(made) == 1
    assert appliance.path() == tmp_path / "cache/appliance/key"
