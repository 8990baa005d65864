"""One running QEMU: started stopped, driven by QMP, its console and events taken down, gone when the block is left.

QMP, the serial port and the firmware's debug port are socket pairs that QEMU inherits: no path in the file system,
nothing to clean up, and the far end is closed the moment QEMU dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from qemu.qmp import EventListener, QMPClient, QMPError, Runstate

from roost.boot.console import FIRMWARE, SERIAL, Console, Kind
from roost.boot.given import Channels
from roost.boot.observed import Event, Processors, parse_registers
from roost.errors import ImageError
from roost.host import process

#: Bytes of the serial log that are kept: its beginning and its end.
LOG_HEAD = 4 << 20
LOG_TAIL = 1 << 20
#: Seconds in which QEMU must open its sockets, and answer a question.
START = 20.0
ANSWER = 10.0
#: A serial port gives its bytes one by one: collecting them for a moment (seconds) spares the guest a wake-up of this
#: process for each, unless there are many anyway.
PAUSE = 0.02
FULL = 4096
#: A console that says nothing for so long stands at a prompt.
QUIET = 0.25


class RefusedError(ImageError):
    """The hypervisor does not start this machine; `tail` has its own words."""


class SerialLog:
    """Writes a console's bytes to a file: the first LOG_HEAD and the last LOG_TAIL, however many there are."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._room = LOG_HEAD
        self._last: deque[bytes] = deque()
        self._kept = 0
        self._left_out = 0

    def write(self, data: bytes) -> None:
        """Take what came."""
        head, rest = data[: self._room], data[self._room :]
        self._file.write(head)
        self._room -= len(head)
        if rest:
            self._last.append(rest)
            self._kept += len(rest)
            while self._kept - len(self._last[0]) >= LOG_TAIL:
                gone = len(self._last.popleft())
                self._kept -= gone
                self._left_out += gone

    def close(self) -> None:
        """Write the end, and how much is missing before it."""
        if self._left_out:
            self._file.write(f"\n[roost: {self._left_out} bytes left out]\n".encode())
        for data in self._last:
            self._file.write(data)
        self._last.clear()
        self._file.close()


@dataclass
class Session:
    """A machine that runs. Times are seconds after `resume`."""

    qemu: subprocess.Popen[bytes]
    serial: Console
    firmware: Console
    events: list[Event] = field(default_factory=list)
    echo: Callable[[bytes], None] | None = None
    #: In whose words the machine was refused after QEMU had started; None while it was not.
    refused: str | None = None
    _start: float = field(default_factory=time.monotonic)
    _saving: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _client: QMPClient | None = None
    _writer: asyncio.StreamWriter | None = None
    _aside: asyncio.StreamWriter | None = None

    @property
    def now(self) -> float:
        """Seconds after the start."""
        return time.monotonic() - self._start

    @property
    def gone(self) -> bool:
        """Whether QEMU has ended."""
        return self.qemu.poll() is not None

    def event(self, name: str) -> Event | None:
        """Return the first event of this name, or None."""
        return next((event for event in self.events if event.name == name), None)

    def heard(self, data: bytes) -> None:
        """Take what came on the channel beside the serial port: the firmware's debug port."""
        self.firmware.feed(data, self.now)

    def happened(self, event: Event) -> None:
        """Take an event of QEMU's."""
        self.events.append(event)

    async def resume(self) -> None:
        """Let the virtual CPUs run; time starts now."""
        self.start_over()
        await self._ask("cont")

    def start_over(self) -> None:
        """Let time start now."""
        self._start = time.monotonic()

    async def wait(self, seconds: float) -> None:
        """Wait until the console, an event or QEMU's end brings something new, or `seconds` are over."""
        self._changed.clear()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), max(0.0, min(seconds, QUIET)))
        if self.serial.last_byte is not None and self.now - self.serial.last_byte >= QUIET * 0.9:
            self.serial.settle(self.now)

    async def type(self, text: str) -> None:
        """Send text to the guest's serial port, as a person at the terminal would."""
        if self._writer is not None:
            with contextlib.suppress(OSError):
                self._writer.write(text.encode("utf-8", "surrogateescape"))
                await self._writer.drain()

    async def send_aside(self, data: bytes) -> None:
        """Send bytes on the channel beside the serial port."""
        if self._aside is not None:
            with contextlib.suppress(OSError):
                self._aside.write(data)
                await self._aside.drain()

    async def power_button(self) -> None:
        """Press the ACPI power button: all that HTCondor does on eviction."""
        await self._ask("system_powerdown")

    async def status(self) -> str:
        """Return QEMU's run state, such as running, paused, inmigrate; empty when it does not say."""
        answer = await self._ask("query-status")
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""

    async def throttle(self, disk: str, *, slow: bool) -> None:
        """Let the disk at target `disk` do one operation of some bytes a second, or as many as it can."""
        none = dict.fromkeys(("bps_rd", "bps_wr", "iops_rd", "iops_wr"), 0)
        limits = {"iops": int(slow), "bps": 512 * slow}
        # A virtio disk on PCI is two devices, and the inner one has the blocks.
        for name in (f"/machine/peripheral/disk-{disk}/virtio-backend", f"disk-{disk}"):
            if await self._ask("block_set_io_throttle", {"id": name, **limits, **none}) is not None:
                return

    async def save(self, uri: str, deadline: float) -> str | None:
        """Stop the machine and write its state to `uri`, as libvirt's save does; return what went wrong, or None.

        Its disks are complete then. The machine stays stopped: `carry_on` lets it run again.
        """
        self._saving = time.monotonic()
        await self._ask("stop")
        await self._ask("migrate-set-parameters", {"max-bandwidth": 1 << 40})
        await self._ask("migrate", {"uri": uri})
        while time.monotonic() < self._saving + deadline and not self.gone:
            answer = await self._ask("query-migrate")
            status = answer.get("status") if isinstance(answer, dict) else None
            if status == "completed":
                return None
            if not isinstance(answer, dict) or status in (None, "failed", "cancelled"):
                said = answer.get("error-desc", "QEMU does not say why") if isinstance(answer, dict) else "no answer"
                return str(said)
            await asyncio.sleep(0.02)
        await self._ask("migrate_cancel")
        return f"not done after {deadline:.0f} s"

    async def carry_on(self) -> None:
        """Let a machine that was saved run again; the time it stood still does not count."""
        await self._ask("cont")
        self._start += time.monotonic() - self._saving

    async def screenshot(self, file: str) -> bool:
        """Write the screen to a PPM file of QEMU's working folder; return whether there is one."""
        return await self._ask("screendump", {"filename": file}) is not None

    async def memory(self, file: str, begin: int, size: int) -> bool:
        """Write `size` bytes of the guest's memory from physical address `begin` to a file of QEMU's folder."""
        return await self._ask("pmemsave", {"val": begin, "size": size, "filename": file}) is not None

    async def quit(self) -> None:
        """End QEMU in order, so that its layers are complete; what does not go is killed when the block is left."""
        if not self.gone:
            await self._ask("quit")
        for _ in range(100):
            if self.gone:
                return
            await asyncio.sleep(0.02)

    async def reads(self, disk: str) -> int | None:
        """Return how many reads the disk at target `disk` has had, by firmware and guest; None when unknown."""
        answer = await self._ask("query-blockstats")
        for device in answer if isinstance(answer, list) else []:
            if disk in (device.get("node-name"), device.get("device")) or disk in str(device.get("qdev", "")):
                return int(device["stats"]["rd_operations"])
        return None

    async def processors(self) -> Processors | None:
        """Return what the virtual CPUs do right now; None when QEMU does not say."""
        answer = await self._ask("human-monitor-command", {"command-line": "info registers -a"})
        return parse_registers(str(answer)) if isinstance(answer, str) else None

    async def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> object:
        if self._client is None:
            return None
        try:
            return await asyncio.wait_for(self._client.execute(command, arguments), ANSWER)
        except (QMPError, TimeoutError, OSError):
            # The machine is going, or gone: the events say so.
            return None


@asynccontextmanager
async def start(
    argv: Callable[[Channels], Sequence[str]],
    *,
    serial_log: Path,
    log: Path,
    cwd: Path | None = None,
    patterns: Sequence[str] = (),
    unwanted: Sequence[str] = (),
    echo: Callable[[bytes], None] | None = None,
    make: Callable[..., Session] = Session,
    aside: Mapping[str, Kind] = FIRMWARE,
) -> AsyncIterator[Session]:
    """Start QEMU in folder `cwd`, stopped, and yield its session; `echo` sees each byte of the serial port as it comes.

    `make` is the session's class, `aside` the signs of what comes beside the serial port.

    Raises `RefusedError`, with QEMU's own words, when it does not start.
    """
    with contextlib.ExitStack() as stack:
        ours, theirs = [], []
        for _ in range(3):
            near, far = socket.socketpair()
            near.setblocking(False)
            ours.append(stack.enter_context(contextlib.closing(near)))
            theirs.append(stack.enter_context(contextlib.closing(far)))
        channels = Channels(*(end.fileno() for end in theirs))
        words = argv(channels)
        begin = log.stat().st_size if log.exists() else 0
        machine = stack.enter_context(process.spawn(words, log=log, cwd=cwd, pass_fds=[end.fileno() for end in theirs]))
        for end in theirs:
            end.close()
        serial_file = stack.enter_context(contextlib.closing(SerialLog(serial_log)))
        session = make(machine, Console(SERIAL, patterns, unwanted), Console(aside), echo=echo)
        async with _listening(session, ours, serial_file, lambda: _said(log, begin)):
            yield session


@asynccontextmanager
async def _listening(
    session: Session, sockets: Sequence[socket.socket], serial_log: SerialLog, said: Callable[[], str]
) -> AsyncIterator[None]:
    client = QMPClient("roost")
    listener = EventListener()
    client.register_listener(listener)
    try:
        await asyncio.wait_for(client.connect(sockets[0]), START)
    except (QMPError, TimeoutError, OSError) as error:
        with contextlib.suppress(subprocess.TimeoutExpired):
            session.qemu.wait(1)
        raise RefusedError("QEMU does not start this machine", tail=said() or str(error)) from error
    session._client = client
    serial_reader, session._writer = await asyncio.open_connection(sock=sockets[1])
    firmware_reader, session._aside = await asyncio.open_connection(sock=sockets[2])

    async def follow(reader: asyncio.StreamReader, console: Console, sink: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                sink(data)
                session._changed.set()
                if len(data) < FULL:
                    await asyncio.sleep(PAUSE)
        console.close(session.now)
        session._changed.set()

    def serial(data: bytes) -> None:
        session.serial.feed(data, session.now)
        serial_log.write(data)
        if session.echo:
            session.echo(data)

    async def events() -> None:
        async for message in listener:
            data = message.get("data")
            session.happened(Event(session.now, str(message["event"]), dict(data) if isinstance(data, dict) else {}))
            session._changed.set()

    readers = [
        asyncio.create_task(follow(serial_reader, session.serial, serial)),
        asyncio.create_task(follow(firmware_reader, session.firmware, session.heard)),
    ]
    events_task = asyncio.create_task(events())
    try:
        yield
        if session.gone:
            # What QEMU wrote before its end is still in the sockets.
            await asyncio.wait(readers, timeout=5)
            for _ in range(100):
                if client.runstate != Runstate.RUNNING and listener.empty():
                    break
                await asyncio.sleep(0.01)
    finally:
        for task in (*readers, events_task):
            task.cancel()
        await asyncio.gather(*readers, events_task, return_exceptions=True)
        for writer in (session._writer, session._aside):
            writer.close()
        with contextlib.suppress(Exception):
            session.qemu.kill()
            await asyncio.wait_for(client.disconnect(), 2)


def _said(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = process.tail(file.read(65536)).splitlines()
    return "\n".join(line for line in lines if not line.startswith("$ "))
