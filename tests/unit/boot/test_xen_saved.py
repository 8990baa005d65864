"""Which boots restore a saved Xen, and that each fault of one ends in a start of Xen."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roost.boot import start as starting
from roost.boot import xen, xen_saved
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DiskPlace
from roost.boot.console import SERIAL, Console
from roost.boot.session import QemuError
from roost.boot.start import Listening
from roost.boot.xen_machine import FirstDomain
from roost.boot.xen_session import TOOLS, Domain
from roost.condor.hardware import Hardware, hardware
from roost.condor.machine import VirtualMachine, VmDisk
from roost.events import Silent, Stages
from roost.host import saved_machines
from roost.host.appliance import GIVEN_UP

DISKS = (VmDisk("root.raw", "xvda", "w", "raw"), VmDisk("io.raw", "xvdb", "w", "raw"))
SMOKE = VirtualMachine("smoke", "xen", 256, 1, DISKS)
TCG = Accelerator("tcg", "Westmere", 4.0, True, None)
#: Bytes of the disks: the root of the first domain, the files, and two of an image, one with half a sector.
SIZES = [60 << 20, 10240, 32 << 20, 1000]
STARTED, SAVED, RESTORED = "started", "saved", "restored"


class Machine(Domain):
    """A session of a QEMU that does as its host's `fault` says."""

    host: Host
    incoming: bool
    directory: Path

    @property
    def gone(self) -> bool:
        return False

    async def let_run(self) -> None:
        self.start_over()
        if not self.incoming and self.host.fault != "xen":
            self.heard(b'{"event": "ready", "xen": "4.17.6"}\n')

    async def wait(self, seconds: float) -> None:
        self._start -= seconds * 100

    async def loaded(self, deadline: float) -> bool:
        assert deadline > 0
        return self.host.fault != "not loaded"

    async def capacities(self) -> list[int]:
        return [] if self.host.fault == "unknown" else SIZES

    async def tell(self, message: Any) -> None:
        fault = self.host.fault
        if message["do"] == "release" and fault != "not released":
            self.heard(b'{"event": "released"}\n')
        if message["do"] == "adopt" and fault != "silent":
            assert abs(message["now"] - time.time()) < 60
            assert len(bytes.fromhex(message["seed"])) == 64
            self.host.seeds.append(message["seed"])
            seen = [[f"vd{letter}", -(-size // 512)] for letter, size in zip("abcd", SIZES, strict=True)]
            if fault == "sizes":
                seen[2], seen[3] = [seen[2][0], seen[3][1]], [seen[3][0], seen[2][1]]
            if fault == "fewer":
                seen.pop()
            self.heard(json.dumps({"event": "adopted", "xen": "4.17.6", "disks": seen}).encode() + b"\n")

    async def save(self, uri: str, deadline: float) -> str | None:
        name = uri.removeprefix("exec:cat >")
        (self.directory / name).write_bytes(b"state" * 1000)
        (self.directory / "log/dom0.log").write_text("(XEN) up\n")
        return "no space left" if self.host.fault == "full" else None

    async def quit(self) -> None:
        self.host.up.append(SAVED)


class Told(Silent):
    """Keeps the notes."""

    def __init__(self, notes: list[str]) -> None:
        self.notes = notes

    def note(self, text: str) -> None:
        self.notes.append(text)


class Host:
    """A host with a first domain in its cache, where every start of QEMU is recorded in `up`."""

    def __init__(self, folder: Path, fault: str = "") -> None:
        self.fault, self.up, self.seeds = fault, list[str](), list[str]()
        self.folder, self.cache = folder, folder / "dom0"
        self.cache.mkdir()
        self.first = FirstDomain(*(self.cache / name for name in ("xen", "vmlinuz", "initrd.img", "root.raw")))
        self.notes: list[str] = []

    @asynccontextmanager
    async def start(
        self, argv: Callable[[Channels], list[str]], listening: Listening, *, make: Any, side_signs: Any
    ) -> AsyncIterator[Domain]:
        """Stand in for `start.start`."""
        words = argv(Channels(3, 4, 5))
        process: Any = None
        session = Machine(process, Console(SERIAL), Console(side_signs))
        assert listening.cwd is not None
        session.host, session.directory = self, listening.cwd
        session.incoming = "-incoming" in words
        yield session
        blank = any("blank-0" in word for word in words)
        if not blank:
            self.up.append(RESTORED if session.incoming else STARTED)

    def boot(self, vm: VirtualMachine = SMOKE, accelerator: Accelerator = TCG) -> str:
        """Boot a machine; return what QEMU did at last."""
        shape = hardware(vm)
        scratch = self.folder / f"scratch-{len(list(self.folder.iterdir()))}"
        (scratch / "log").mkdir(parents=True)
        places = {disk.target: DiskPlace(Path("/i") / disk.file, Path("/s") / disk.file) for disk in shape.disks}
        start = xen.Xen(self.first, shape, accelerator, "/bin/sh", places, Stages(Told(self.notes))).start
        self.log, self.console = scratch / "log/qemu.log", scratch / "log/dom0.log"
        self.up.clear()

        async def run() -> None:
            async with start(Listening(scratch / "log/serial.log", self.log, scratch)) as session:
                assert session.version == "Xen 4.17.6"

        asyncio.run(run())
        return self.up[-1]

    @property
    def machines(self) -> list[Path]:
        """What is beside the first domain's files, in order."""
        return sorted((self.cache / saved_machines.DIRECTORY).iterdir())


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Host]:
    """Return a function that returns a host with a fault."""

    def made(fault: str = "") -> Host:
        host = Host(tmp_path, fault)
        monkeypatch.setattr(starting, "start", host.start)
        return host

    return made


def shaped(count: int = 2, memory: int = 256) -> Hardware:
    """Return the hardware of a machine with that many disks and MiB."""
    disks = tuple(VmDisk(f"{n}.raw", f"xvd{chr(97 + n)}", "w", "raw") for n in range(count))
    return hardware(replace(SMOKE, memory=memory, disks=disks))


def test_xen_is_started_once_and_restored_by_every_boot(make: Callable[[str], Host]) -> None:
    host = make("")
    assert host.boot() == RESTORED
    assert host.up == [SAVED, RESTORED]
    assert host.notes == []
    for _ in range(2):
        assert host.boot() == RESTORED
        assert host.up == [RESTORED]
        assert host.console.read_text() == "(XEN) up\n"
    assert len(set(host.seeds)) == 3
    (machine,) = host.machines
    assert {file.name for file in machine.iterdir()} == {xen_saved.STATE, xen_saved.CONSOLE, xen_saved.RECORD}


@pytest.mark.parametrize("fault", ["full", "not released", "not loaded", "silent", "sizes", "fewer", "unknown"])
def test_whatever_fails_xen_starts_and_an_hour_nothing_is_saved(fault: str, make: Callable[[str], Host]) -> None:
    host = make(fault)
    assert host.boot() == STARTED
    assert "the saved machine of Xen is not used: " in host.log.read_text()
    assert host.notes == ["the saved machine of Xen is not used, and Xen was started: see qemu.log"]
    (mark,) = host.machines
    assert mark.suffix == ".unusable"
    assert host.boot() == STARTED
    assert host.up == [STARTED]
    host.fault = ""
    before = time.time() - GIVEN_UP - 1
    os.utime(mark, (before, before))
    assert host.boot() == RESTORED


@pytest.mark.parametrize("name", [xen_saved.STATE, xen_saved.CONSOLE, xen_saved.RECORD])
@pytest.mark.parametrize("damage", [b"{}", b"", None])
def test_a_damaged_machine_costs_a_start_and_is_removed(
    name: str, damage: bytes | None, make: Callable[[str], Host]
) -> None:
    host = make("")
    host.boot()
    file = host.machines[0] / name
    file.unlink()
    if damage is not None:
        file.write_bytes(damage)
    harmless = name == xen_saved.CONSOLE and damage is not None
    assert host.boot() == (RESTORED if harmless else STARTED)
    assert [one.suffix for one in host.machines] == ["" if harmless else ".unusable"]


def test_a_start_that_fails_too_says_nothing_of_the_machine(
    make: Callable[[str], Host], monkeypatch: pytest.MonkeyPatch
) -> None:
    host = make("")
    host.boot()
    before = host.machines
    host.fault = "silent"
    started = host.start

    @asynccontextmanager
    async def refused(argv: Any, listening: Listening, **options: Any) -> AsyncIterator[Domain]:
        if "-incoming" not in argv(Channels(3, 4, 5)):
            raise QemuError("QEMU does not start this machine", tail="no such device")
        async with started(argv, listening, **options) as session:
            yield session

    monkeypatch.setattr(starting, "start", refused)
    with pytest.raises(QemuError):
        host.boot()
    assert host.machines == before


def test_another_that_saves_is_not_waited_for(make: Callable[[str], Host]) -> None:
    host = make("")
    place = xen_saved.place(host.first, hardware(SMOKE), TCG, "/bin/sh")
    assert place is not None
    with saved_machines.saving(place):
        assert host.boot() == STARTED
    assert host.up == [STARTED]
    assert not any(one.suffix for one in host.machines)
    assert not host.log.exists()


def test_a_failure_in_the_boot_is_not_one_of_the_machine(make: Callable[[str], Host], tmp_path: Path) -> None:
    host = make("")
    host.boot()
    scratch = tmp_path / "other"
    (scratch / "log").mkdir(parents=True)
    shape = shaped()
    places = {disk.target: DiskPlace(Path("/i"), Path("/s")) for disk in shape.disks}
    start = xen.Xen(host.first, shape, TCG, "/bin/sh", places, Stages()).start

    async def run() -> None:
        async with start(Listening(scratch / "log/serial.log", scratch / "log/qemu.log", scratch)):
            raise QemuError("the machine is not started")

    with pytest.raises(QemuError):
        asyncio.run(run())
    assert [one.suffix for one in host.machines] == [""]


def test_a_machine_is_that_of_a_number_of_disks_of_memory_in_steps_and_of_a_qemu(tmp_path: Path) -> None:
    first = FirstDomain(*(tmp_path / name for name in ("xen", "vmlinuz", "initrd.img", "root.raw")))
    qemu = tmp_path / "qemu"
    qemu.write_text("one")
    os.utime(qemu, (1, 1))

    def place(shape: Hardware, accelerator: Accelerator = TCG) -> Path | None:
        return xen_saved.place(first, shape, accelerator, str(qemu))

    usual = place(shaped())
    assert usual is not None
    assert usual.parent.parent == tmp_path
    assert usual == place(shaped(memory=320)) == place(hardware(replace(SMOKE, vcpus=4)))
    others = [place(shaped(3)), place(shaped(memory=321)), place(shaped(), replace(TCG, cpu="max"))]
    qemu.write_text("two")
    others.append(place(shaped()))
    assert len({usual, *others, None}) == 6
    assert place(shaped(), replace(TCG, name="kvm")) is None
    assert place(shaped(25)) is None
    qemu.unlink()
    assert place(shaped()) is None


def test_the_domain_does_not_start_before_it_is_told(make: Callable[[str], Host]) -> None:
    process: Any = None
    session = Machine(process, Console(SERIAL), Console(TOOLS))
    session.host, session.incoming = make("xen"), False
    with pytest.raises(QemuError, match="Xen does not start in QEMU"):
        asyncio.run(session.bring_up(10.0))
