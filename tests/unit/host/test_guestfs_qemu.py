"""What libguestfs runs in place of QEMU: which arguments change, and when it refuses to restore a machine."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from roost.host import guestfs_qemu

#: What libguestfs 1.48 runs, shortened.
MACHINE = [
    *("-machine", "accel=tcg,graphics=off", "-cpu", "max,la57=off", "-m", "512"),
    *("-kernel", "/cache/kernel", "-initrd", "/cache/initrd", "-object", "rng-random,filename=/dev/urandom,id=rng0"),
    "-drive",
    "file.file.filename=/tmp/one,,two/overlay1.qcow2,file.driver=qcow2,file.backing.file.locking=off,id=hd0,if=none",
    *("-device", "scsi-hd,drive=hd0"),
    *("-drive", "file=/cache/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw"),
    *("-device", "scsi-hd,drive=appliance", "-serial", "stdio"),
    *("-chardev", "socket,path=/tmp/libguestfsabcdef/guestfsd.sock,id=channel0"),
    *("-append", "panic=1 lpj=10384520 printk.time=1 root=UUID=494d6b94 preempt=none"),
]


def _with(old: str, new: str) -> list[str]:
    return [one.replace(old, new) for one in MACHINE]


def test_a_machine_is_known_by_its_channel() -> None:
    assert guestfs_qemu.is_machine(MACHINE)
    assert not guestfs_qemu.is_machine(["-display", "none", "-help"])
    assert not guestfs_qemu.is_machine(["-display", "none", "-machine", "accel=kvm:tcg", "-qmp", "stdio"])


@pytest.mark.parametrize(
    ("old", "new", "same"),
    [
        ("/tmp/one,,two/overlay1.qcow2", "/var/tmp/x,,id=y/overlay9.qcow2", True),
        ("libguestfsabcdef", "libguestfs123456", True),
        ("lpj=10384520 ", "", True),
        ("lpj=10384520", "lpj=7", True),
        ("-m", "-mm", False),
        ("512", "768", False),
        ("hd0", "hd1", False),
        ("scsi-hd,drive=hd0", "scsi-hd,drive=hd0,logical_block_size=4096", False),
        ("accel=tcg", "accel=kvm", False),
        ("/cache/kernel", "/cache/other", False),
        ("if=none", "if=none,readonly=on", False),
        ("preempt=none", "preempt=full", False),
    ],
)
def test_arguments_are_compared_without_the_names_of_files(old: str, new: str, same: bool) -> None:
    assert (guestfs_qemu.comparable(_with(old, new)) == guestfs_qemu.comparable(MACHINE)) == same


def test_a_disk_more_is_another_machine() -> None:
    more = [*MACHINE, "-drive", "file=/x,id=hd1,if=none", "-device", "scsi-hd,drive=hd1"]
    assert guestfs_qemu.comparable(more) != guestfs_qemu.comparable(MACHINE)


def test_restoring_changes_the_channel_and_the_disk_of_the_appliance_and_nothing_else() -> None:
    found = guestfs_qemu.restoring(MACHINE, "/a,b", 7, 8)
    changed = [(old, new) for old, new in zip(MACHINE, found, strict=False) if old != new]
    assert changed == [
        (
            "file=/cache/root,snapshot=on,id=appliance,cache=unsafe,if=none,format=raw",
            "file=/a,,b/disk.qcow2,id=appliance,cache=unsafe,if=none,format=qcow2,snapshot=on",
        ),
        ("socket,path=/tmp/libguestfsabcdef/guestfsd.sock,id=channel0", "socket,fd=7,id=channel0"),
    ]
    assert found[len(MACHINE) :] == ["-device", "vmgenid,guid=auto", "-incoming", "fd:8"]


def test_saving_writes_into_the_disk_that_is_kept_and_has_a_monitor() -> None:
    found = guestfs_qemu.saving(MACHINE, "/kept", "/tmp/own/monitor")
    assert "file=/kept/disk.qcow2,id=appliance,cache=unsafe,if=none,format=qcow2" in found
    assert found[len(MACHINE) :] == [
        *("-device", "vmgenid,guid=auto"),
        *("-qmp", "unix:/tmp/own/monitor,server=on,wait=off"),
    ]
    assert "socket,path=/tmp/libguestfsabcdef/guestfsd.sock,id=channel0" in found


def test_arguments_without_a_disk_of_the_appliance_are_refused() -> None:
    with pytest.raises(ValueError, match="unpack"):
        guestfs_qemu.restoring(_with("id=appliance", "id=other"), "/kept", 7, 8)


class Machine:
    """A saved machine whose QEMU only tells what it was given."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.own = folder / "machine", folder / "own"
        self.folder.mkdir()
        self.own.mkdir()
        # unix(7): a path of a socket has at most 107 bytes.
        self.socket = Path(os.path.relpath(folder / "guestfsd.sock"))
        self.qemu = folder / "qemu"
        self.qemu.write_text(
            f"#!{sys.executable}\nimport json, os, sys\n"
            "args = sys.argv[1:]\n"
            "said = {'args': args}\n"
            "if '-incoming' in args:\n"
            "    said['state'] = os.read(int(args[-1][3:]), 99).decode()\n"
            "    channel = [one for one in args if one.startswith('socket,fd=')][0]\n"
            "    os.write(int(channel[10:].split(',')[0]), b'daemon')\n"
            "print(json.dumps(said))\n"
        )
        self.qemu.chmod(0o755)
        self.arguments = _with("/tmp/libguestfsabcdef/guestfsd.sock", str(self.socket))
        (self.folder / guestfs_qemu.STATE).write_text("the state")
        (self.folder / guestfs_qemu.DISK).write_text("the disk")

    def record(self) -> None:
        """Keep what was saved."""
        record = {
            "arguments": guestfs_qemu.comparable(self.arguments),
            "files": guestfs_qemu.sums(str(self.folder)),
        }
        (self.folder / guestfs_qemu.RECORD).write_text(json.dumps(record))

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run QEMU as libguestfs does."""
        return subprocess.run(
            [
                *(sys.executable, "-I", "-S", guestfs_qemu.__file__, self.qemu, self.folder / "qemu"),
                *(arguments or self.arguments),
            ],
            env={"LIBGUESTFS_TMPDIR": str(self.own)},
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine that is not saved yet."""
    return Machine(tmp_path)


def test_questions_are_passed_on(machine: Machine) -> None:
    machine.record()
    assert json.loads(machine.run("-display", "none", "-help").stdout) == {"args": ["-display", "none", "-help"]}
    assert not list(machine.own.iterdir())


def test_a_machine_that_is_not_saved_yet_is_booted_with_a_monitor(machine: Machine) -> None:
    said = json.loads(machine.run().stdout)["args"]
    assert said == guestfs_qemu.saving(machine.arguments, str(machine.folder), str(machine.own / "monitor"))
    assert json.loads((machine.folder / "arguments.json").read_text()) == guestfs_qemu.comparable(machine.arguments)
    assert not list(machine.own.iterdir())


def test_a_saved_machine_is_restored_and_its_daemon_reported(machine: Machine) -> None:
    machine.record()
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(machine.socket))
        server.listen()
        server.settimeout(20)
        said = json.loads(machine.run().stdout)
        connection, _ = server.accept()
        with connection:
            assert connection.recv(99) == b"\xf5\xf5\x5f\xf5daemon"
    assert said["state"] == "the state"
    assert (machine.own / "restored").exists()
    assert (machine.own / "elsewhere").read_text() == f"{machine.socket.parent}\n"


@pytest.mark.parametrize("fault", ["state", "short", "disk", "arguments", "nobody", "record"])
def test_what_is_not_as_it_was_saved_is_refused(fault: str, machine: Machine) -> None:
    machine.record()
    if fault == "state":
        (machine.folder / guestfs_qemu.STATE).write_text("the stale")
    elif fault == "short":
        (machine.folder / guestfs_qemu.STATE).write_text("the")
    elif fault == "disk":
        (machine.folder / guestfs_qemu.DISK).unlink()
    elif fault == "arguments":
        machine.arguments.append("-no-hpet")
    elif fault == "record":
        (machine.folder / guestfs_qemu.RECORD).write_text('{"arguments"')
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(machine.socket))
        if fault != "nobody":
            server.listen()
        refused = machine.run()
    assert refused.returncode == 1
    assert not refused.stdout
