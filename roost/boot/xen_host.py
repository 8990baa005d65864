"""A Xen machine on a host that is itself a Xen dom0: its own xl starts the domain, as libvirt's xen driver would.

The configuration is the same as in QEMU (`roost.boot.domain`), with the host's names: the layers are qcow2, which xl's
own QEMU serves, and the domain has its own name. The domain is destroyed however the boot ends. This is tested only
with a substitute for xl, not on a host with Xen.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import secrets
import tty
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

from roost.boot import domain
from roost.boot.backends import DirectKernel, DiskPlace
from roost.boot.console import SERIAL, Console
from roost.boot.domain import HostXen
from roost.boot.machine import Start
from roost.boot.monitor import Processors
from roost.boot.serial_log import SerialLog
from roost.boot.session import Session
from roost.boot.start import Listening
from roost.boot.xen_session import TOOLS, Domain
from roost.condor.hardware import AttachedDisk, Hardware
from roost.errors import RoostError
from roost.host import files, process

CAPABILITIES = Path("/proc/xen/capabilities")
#: Seconds for xl to create or to destroy a domain, and for it to answer.
CREATE, ANSWER = 180.0, 20.0
#: Seconds between two polls of the domain.
LOOK = 0.5
#: A line of `xl list -v`: its state, its UUID, its reason code in hexadecimal (tools/xl/xl_list.c).
_LISTED = re.compile(r"\s([r-][b-][p-][s-][c-][d-])\s+[\d.]+\s+[0-9a-fA-F-]{36}\s+([0-9a-fA-F]+|-)(?:\s|$)")
_CRASH = 3


def find(capabilities: Path = CAPABILITIES) -> HostXen | None:
    """Return the Xen of a host that is a dom0 whose xl works for this user; None elsewhere."""
    try:
        if "control_d" not in files.read_text(capabilities).split():
            return None
    except (OSError, UnicodeDecodeError, RoostError):
        return None
    xl = process.which("xl")
    if xl is None:
        return None
    try:
        done = process.run([xl, "info"], deadline=ANSWER, capture=True, check=False)
    except RoostError:
        return None
    if done.returncode != 0:
        return None
    found = re.search(r"^xen_version\s*:\s*(\d[\w.+-]{0,30})\s*$", done.text, re.MULTILINE)
    return HostXen(xl, found[1] if found else "")


def ended(listed: str) -> int | None:
    """Return Xen's reason code of a domain that has ended, from `xl list -v NAME`; None while it runs."""
    found = _LISTED.search(listed)
    if found is None or not {"s", "c"} & set(found[1]):
        return None
    if found[2] == "-":
        return _CRASH if "c" in found[1] else 0
    return int(found[2], 16)


@dataclass
class HostDomain(Domain):
    """A running domain of this host: its `name` and `configuration`, the program `xl` and its `log`."""

    xl: str = "xl"
    name: str = ""
    configuration: Path = Path()
    log: Path | None = None
    over: bool = False
    _stack: contextlib.AsyncExitStack = field(default_factory=contextlib.AsyncExitStack)
    _terminal: int | None = None
    _log: SerialLog | None = None

    @property
    def gone(self) -> bool:
        """Whether the domain no longer exists."""
        return self.over

    async def call(self, *words: str, deadline: float = ANSWER) -> process.Completed | None:
        """Run xl; return None when it cannot be run or does not answer."""

        def run() -> process.Completed:
            return process.run([self.xl, *words], deadline=deadline, log=self.log, capture=True, check=False)

        try:
            return await asyncio.to_thread(run)
        except RoostError:
            return None

    async def resume(self) -> None:
        """Create the domain and let it run; time begins now."""
        self.start_over()
        self.firmware.feed(f"xl create: {self.starts}\n".encode(), 0.0)
        begin = self.log.stat().st_size if self.log and self.log.exists() else 0
        done = await self.call("create", "-e", "-p", str(self.configuration), deadline=CREATE)
        if done is None or done.returncode:
            output = done.text if done else ""
            if self.log and self.log.exists():
                with self.log.open("rb") as file:
                    file.seek(begin)
                    output += process.tail(file.read(1 << 16))
            self._receive({"event": "failed", "said": output})
            return
        self._listen()
        done = await self.call("unpause", self.name)
        if done is None or done.returncode:
            self.refused = "xl unpause failed: see qemu.log"
            return
        self._receive({"event": "created"})
        task = asyncio.create_task(self._watch())
        self._stack.callback(task.cancel)

    def _listen(self) -> None:
        """Follow the domain's console through a pseudo-terminal: xl console works only with one."""
        ours, theirs = os.openpty()
        self._stack.callback(os.close, ours)
        tty.setraw(theirs)
        argv = [self.xl, "console", self.name]
        # Ended before the terminal is closed.
        self._stack.enter_context(process.spawn(argv, log=self.log, stdin=theirs, stdout=theirs))
        os.close(theirs)
        os.set_blocking(ours, False)
        loop = asyncio.get_running_loop()
        loop.add_reader(ours, self._read, ours)
        self._stack.callback(loop.remove_reader, ours)
        self._terminal = ours

    def _read(self, terminal: int) -> None:
        try:
            data = os.read(terminal, 1 << 16)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(terminal)
            return
        self.serial.feed(data, self.now)
        if self._log is not None:
            self._log.write(data)
        if self.echo:
            self.echo(data)
        self.changed()

    async def _watch(self) -> None:
        """Poll the domain until it has ended."""
        while True:
            await asyncio.sleep(LOOK)
            done = await self.call("list", "-v", self.name)
            if done is None:
                continue
            reason = ended(done.text)
            if reason is None and done.returncode == 0:
                continue
            # The domain's last output is still on its way.
            await asyncio.sleep(LOOK)
            self._receive({"event": "shutdown", "reason": reason})
            self.changed()
            return

    async def type(self, text: str) -> None:
        """Send text to the domain's console."""
        if self._terminal is not None:
            with contextlib.suppress(OSError):
                os.write(self._terminal, text.encode("utf-8", "surrogateescape"))

    async def power_button(self) -> None:
        """Ask the domain to power off, as libvirt does on eviction."""
        await self.call("shutdown", self.name)

    async def processors(self) -> Processors | None:
        """Return the state of the domain's CPUs: a paravirtual kernel has paging from its start."""
        return Processors(paging=self.running, dead=False)

    async def reads(self, disk: str) -> int | None:
        """Return None: xl does not count."""
        return None if self.running else int(self.now)

    async def quit(self) -> None:
        """End the domain, so that its layers are complete."""
        if not self.over:
            self.over = True
            await self.call("destroy", self.name, deadline=CREATE)


@dataclass(frozen=True)
class Host:
    """How a machine is started as a domain of this host."""

    xen: HostXen
    hardware: Hardware
    places: Mapping[str, DiskPlace]
    direct: DirectKernel | None = None

    @property
    def argv(self) -> tuple[str, ...]:
        """Return the command that creates the domain."""
        return (self.xen.xl, "create", "-e", "-p", domain.CONFIGURATION)

    @property
    def start(self) -> Start:
        """Return what starts it."""
        return self._start

    @asynccontextmanager
    async def _start(self, listening: Listening) -> AsyncIterator[Session]:
        assert listening.cwd is not None, "the domain's configuration lies there"
        name = f"roost-{os.getpid()}-{secrets.token_hex(4)}"
        path = listening.cwd / domain.CONFIGURATION
        targets = {disk.target: _target(disk, self.places[disk.target]) for disk in self.hardware.disks}
        path.write_text(domain.configuration(self.hardware, domain.Names(name, targets, self.direct)))
        starts = "a kernel beside the image" if self.hardware.kernel else "pygrub reads the first disk"
        serial_log = SerialLog(listening.serial_log)
        console = Console(SERIAL, listening.patterns, listening.unwanted)
        async with contextlib.AsyncExitStack() as stack:
            stack.callback(serial_log.close)
            session = HostDomain(
                None, console, Console(TOOLS), echo=listening.echo, starts=starts, xl=self.xen.xl, name=name,
                configuration=path, log=listening.log, _log=serial_log, _stack=stack,
            )  # fmt: skip
            session.version = f"Xen {self.xen.version}".rstrip()
            stack.push_async_callback(session.quit)
            yield session
        console.close(session.now)


def _target(disk: AttachedDisk, place: DiskPlace) -> str:
    """Return xl's specification of a disk: its layer, or the image itself when nothing is written to it."""
    kind, path = ("qcow2", place.layer) if place.layer else (disk.format, place.image)
    return domain.target(disk, kind, str(path))
