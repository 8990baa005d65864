"""A Xen machine on a host without Xen: the hypervisor and its first domain run in QEMU, the image as a domain.

A paravirtual guest needs no hardware virtualization, so a real Xen runs under QEMU's emulation. Its first domain is an
image of roost's own (recipes/base/xen-dom0.yaml); it passes the disks through, has pygrub and xl start the domain, and
forwards the domain's console and how it ended. QEMU's own events concern the whole machine, not the domain, and are
ignored: the session's events are those of the domain in QMP's terms (`roost.boot.domain`).
"""

from __future__ import annotations

import functools
import io
import json
import tarfile
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from roost.boot import accelerator as accelerators
from roost.boot import domain
from roost.boot import start as starting
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels, DirectKernel, DiskPlace, blockdev
from roost.boot.console import Kind, kind
from roost.boot.domain import HostXen
from roost.boot.machine import Start
from roost.boot.monitor import Event, Processors
from roost.boot.session import QemuError, Session
from roost.boot.start import Listening
from roost.condor.hardware import AttachedDisk, Hardware
from roost.condor.machine import VirtualMachine
from roost.errors import UsageError
from roost.events import Stages
from roost.host import jsontext

#: MiB of the first domain, and of Xen itself in addition to the domains.
FIRST_DOMAIN, HYPERVISOR = 512, 192
#: The emulated processor: with more features than this one has, the first domain crashes (docs/xen-in-qemu.md).
CPU = "Westmere"
#: How much slower a guest is under a hypervisor, and how long Xen's start may take: scaled, and wall time.
SLOWER = 2.5
START = (30.0, 60.0)
#: How much slower a domain of a host's own Xen may be than a guest under KVM on a fast machine.
HOST_FACTOR = 2.0
#: Most disks of a domain: the first domain's names for them end with /dev/vdz.
MOST_DISKS = ord("z") - ord(domain.FIRST) + 1
#: PCI slots of q35 for disks, and that of the ports.
_SLOTS, _PORTS = range(2, 0x1D), 0x1D
#: Files of the scratch directory, which is QEMU's working directory: their names contain no user input.
_FILES = "domain-files"
_LINE = 1 << 16

#: Messages of the first domain's tools take the place of a firmware's: pygrub is the boot loader.
TOOLS: Mapping[str, Kind] = {
    "boot-sector": kind(r"^xl create: pygrub", "pygrub"),
    "direct-kernel": kind(r"^xl create: a kernel", "a kernel"),
    "not-bootable": kind(r"^pygrub: |^Xen cannot start", "pygrub: ", "Xen cannot start"),
}


@dataclass(frozen=True, slots=True)
class FirstDomain:
    """The files of Xen and its first domain, absolute."""

    hypervisor: Path
    kernel: Path
    initrd: Path
    root: Path


@dataclass
class Domain(Session):
    """A running domain. `starts` says whether pygrub or a kernel starts it."""

    starts: str = "pygrub reads the first disk"
    running: bool = False
    _ready: bool = False
    _rest: bytes = b""

    def happened(self, event: Event) -> None:
        """Record an event of QEMU's: if QEMU ends before the domain does, there is nothing to wait for."""
        if event.name == "SHUTDOWN" and not self.event("SHUTDOWN"):
            self.refused = "Xen's first domain ended; its console is in dom0.log"

    def heard(self, data: bytes) -> None:
        """Process output of the first domain: one JSON object a line."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        self._rest = self._rest[-_LINE:]
        for line in lines:
            try:
                message = jsontext.loads(line)
            except ValueError:
                continue
            if isinstance(message, dict):
                self._receive(message)

    def _receive(self, message: Mapping[str, Any]) -> None:
        match message.get("event"):
            case "ready":
                self._ready = True
                self.version = f"Xen {message.get('xen', '')}"[:40]
            case "created":
                self.running = True
            case "failed":
                of_image, why = domain.not_started(message)
                if of_image:
                    self.firmware.feed(f"{why}\n".encode(), self.now)
                else:
                    self.refused = why
            case "shutdown":
                self.events.append(Event(self.now, "SHUTDOWN", {"guest": True, "reason": domain.reason(message)}))

    async def reads(self, disk: str) -> int | None:
        """Return how many reads the disk has had. Before the domain runs, pygrub and xl do not count as idle."""
        return await super().reads(disk) if self.running else int(self.now)

    async def bring_up(self, seconds: float) -> None:
        """Start Xen and its first domain. Raises `QemuError` when they are not up within `seconds`."""
        await super().resume()
        while not (self._ready or self.gone or self.refused or self.now > seconds):
            await self.wait(0.2)
        if not self._ready:
            why = self.refused or ("QEMU ended" if self.gone else f"its first domain is not up after {seconds:.0f} s")
            raise QemuError("Xen does not start in QEMU", tail=f"Xen does not start in QEMU: {why}")

    async def resume(self) -> None:
        """Start the domain; time begins now."""
        self.start_over()
        self.firmware.feed(f"xl create: {self.starts}\n".encode(), 0.0)
        await self.tell({"do": "start"})

    async def power_button(self) -> None:
        """Ask the domain to power off, as libvirt does on eviction: by its control node in xenstore."""
        await self.tell({"do": "shutdown"})

    async def processors(self) -> Processors | None:
        """Return the state of the domain's CPUs: a paravirtual kernel has paging from its start."""
        return Processors(paging=self.running, dead=False)

    async def memory(self, file: str, begin: int, size: int) -> bool:
        """Return False: the memory is that of Xen and all of its domains."""
        return False

    async def screenshot(self, file: str) -> bool:
        """Return False: there is no screen."""
        return False

    async def tell(self, message: Mapping[str, str]) -> None:
        """Send a message to the first domain."""
        await self.send_side(json.dumps(message).encode() + b"\n")


@dataclass
class Resumed(Domain):
    """A domain that is resumed in a saved QEMU, together with Xen and its first domain."""

    running: bool = True

    async def resume(self) -> None:
        """Let the virtual CPUs run; time starts now."""
        await Session.resume(self)


@dataclass(frozen=True)
class Xen:
    """How a machine is started as a domain: its hardware, its disks, the kernel next to the image.

    Xen's own start is a stage of `stages` and does not count as the guest's time. `seen` receives QEMU's arguments.
    """

    first: FirstDomain
    hardware: Hardware
    accelerator: Accelerator
    program: str
    places: Mapping[str, DiskPlace]
    stages: Stages
    direct: DirectKernel | None = None
    seen: Callable[[Sequence[str]], None] = field(default=lambda argv: None)

    @property
    def start(self) -> Start:
        """Return what starts it."""
        return self._start

    @asynccontextmanager
    async def _start(self, listening: Listening) -> AsyncIterator[Session]:
        assert listening.cwd is not None, "the files of the domain lie in QEMU's directory"
        self._lay_out(listening.cwd)

        def argv(channels: Channels) -> list[str]:
            words = qemu_argv(self.hardware, self.accelerator, self.program, self.places, channels)
            self.seen(words)
            return words

        starts = "a kernel beside the image" if self.hardware.kernel else "pygrub reads the first disk"
        make = functools.partial(Domain, starts=starts)
        async with starting.start(argv, listening, make=make, side_signs=TOOLS) as session:
            assert isinstance(session, Domain)
            with self.stages.stage("xen", "the hypervisor and its first domain, in QEMU"):
                await session.bring_up(START[0] * self.accelerator.factor + START[1])
            yield session

    def _lay_out(self, scratch: Path) -> None:
        """Put the files that QEMU starts into its directory, under names without commas and blanks."""
        for name, path in (
            ("xen", self.first.hypervisor), ("dom0-kernel", self.first.kernel), ("dom0-initrd", self.first.initrd),
            ("dom0-root", self.first.root),
        ):  # fmt: skip
            (scratch / name).symlink_to(path)
        with tarfile.open(scratch / _FILES, "w", format=tarfile.USTAR_FORMAT) as tar:
            _add(tar, domain.CONFIGURATION, domain.configuration(self.hardware).encode())
            kernel, initrd = (self.direct.kernel, self.direct.initrd) if self.direct else (None, None)
            for name, file in ((domain.KERNEL, kernel), (domain.INITRD, initrd)):
                if file is not None:
                    _add(tar, name, file.read_bytes())


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode = len(data), 0o644
    tar.addfile(entry, io.BytesIO(data))


def untried(vm: VirtualMachine, *, checkpoint: bool = False) -> tuple[str, ...]:
    """Return which settings of a xen machine no boot tests; empty for others. `checkpoint`: jobs are checkpointed."""
    if vm.hypervisor != "xen":
        return ()
    saved = ("its checkpoint was not tried: the test boot under Xen saves no domain",) if checkpoint else ()
    card = ("the network card was not tried: the test boot under Xen has none",) if vm.network != "none" else ()
    screen = ("the screen was not tried: the test boot under Xen has none",) if vm.vnc else ()
    return card + screen + saved


def choose(accel: str, first: FirstDomain | HostXen | None, *, require_kvm: bool, **more: Any) -> Accelerator:
    """Return the accelerator for a machine, as `accelerator.choose` does; with `first` for a domain of Xen.

    Xen under KVM has not been tested yet: it must be asked for.
    """
    if isinstance(first, HostXen):
        return Accelerator("xen", "host", HOST_FACTOR, False, None)
    if first is None:
        return accelerators.choose(accel, require_kvm=require_kvm, **more)
    return paced(
        accelerators.choose("tcg" if accel == "auto" and not require_kvm else accel, require_kvm=require_kvm, **more)
    )


def paced(accelerator: Accelerator) -> Accelerator:
    """Return the accelerator as seen by a guest of Xen: with another processor, and slower."""
    return replace(accelerator, cpu=CPU, factor=round(accelerator.factor * SLOWER, 2), kernel_seconds=None)


def qemu_argv(
    hardware: Hardware,
    accelerator: Accelerator,
    program: str,
    places: Mapping[str, DiskPlace],
    channels: Channels,
) -> list[str]:
    """Return QEMU's argument list for Xen, its first domain and the disks of the domain; pure.

    File names are relative to QEMU's directory, where `Xen` puts them. Raises `UsageError` for more disks than there
    are slots.
    """
    if len(hardware.disks) > MOST_DISKS:
        raise UsageError(f"{len(hardware.disks)} disks are more than the test boot under Xen takes")
    memory = FIRST_DOMAIN + hardware.memory + HYPERVISOR
    argv = [program, "-name", "guest=xen", "-S", "-nodefaults", "-no-user-config", "-display", "none"]
    argv += ["-machine", "q35,usb=off,dump-guest-core=off", "-accel", accelerator.name, "-cpu", accelerator.cpu]
    argv += ["-m", str(memory), "-smp", "2", "-rtc", "base=utc", "-no-reboot", "-no-shutdown"]
    argv += ["-chardev", f"socket,id=qmp,fd={channels.qmp}", "-mon", "chardev=qmp,mode=control"]
    argv += ["-chardev", "file,id=dom0,path=log/dom0.log,append=on", "-serial", "chardev:dom0"]
    xen = f"spec-ctrl=no xpti=0 bootscrub=0 dom0_mem={FIRST_DOMAIN}M,max:{FIRST_DOMAIN}M dom0_max_vcpus=1"
    # The first domain's root is named by its device: a disk of the image may have any label and UUID.
    linux = "root=/dev/vda1 ro console=hvc0 quiet init=/usr/lib/roost-dom0/start"
    argv += ["-kernel", "xen", "-append", f"{xen} console=com1 com1=115200 loglvl=warning"]
    argv += ["-initrd", f"dom0-kernel {linux},dom0-initrd"]
    for number, (name, node) in enumerate(_disks(hardware.disks, places)):
        disk = {"driver": "virtio-blk-pci", "id": f"disk-{name}", "drive": name, "addr": f"{_SLOTS[number]:#x}"}
        argv += ["-blockdev", json.dumps(node), "-device", json.dumps(disk)]
    argv += ["-device", json.dumps({"driver": "virtio-serial-pci", "id": "ports", "addr": f"{_PORTS:#x}"})]
    for name, descriptor in ((domain.CONSOLE, channels.serial), (domain.CONTROL, channels.firmware)):
        identity = name.rpartition(".")[2]
        argv += ["-chardev", f"socket,id={identity},fd={descriptor}"]
        argv += ["-device", json.dumps({"driver": "virtserialport", "chardev": identity, "name": name})]
    return argv


def _disks(disks: Sequence[AttachedDisk], places: Mapping[str, DiskPlace]) -> list[tuple[str, dict[str, Any]]]:
    """Return the block nodes by name, in the order in which the first domain sees them."""
    own: list[tuple[str, dict[str, Any]]] = [(name, _readonly(name)) for name in ("dom0-root", _FILES)]
    return own + [(disk.target, blockdev(disk, places[disk.target])) for disk in disks]


def _readonly(name: str) -> dict[str, Any]:
    file = {"driver": "file", "filename": name, "read-only": True, "auto-read-only": False}
    return {"driver": "raw", "node-name": name, "read-only": True, "file": file}
