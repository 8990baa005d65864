"""Starts QEMU and its channels: QMP, the serial port, and a side channel.

They are socket pairs that QEMU inherits: no path in the file system, nothing to clean up, and the far end is closed the
moment QEMU dies.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from qemu.qmp import EventListener, QMPClient, QMPError, Runstate

from roost.boot.backends import Channels
from roost.boot.console import FIRMWARE, SERIAL, Console, Kind
from roost.boot.monitor import Event
from roost.boot.serial_log import SerialLog
from roost.boot.session import QemuError, Session
from roost.host import process

#: Seconds in which QEMU must open its sockets.
START = 20.0
#: A serial port delivers single bytes. Collecting them for a moment (seconds) saves a wake-up of this process for each,
#: unless there are many anyway.
PAUSE = 0.02
FULL = 4096


@dataclass(frozen=True, slots=True)
class Listening:
    """How QEMU runs and what is recorded: its output in `log`, the console in `serial_log`.

    `cwd` is its working directory, None for this process's. `patterns` and `unwanted` are looked for on the console;
    `echo` receives each byte of it as it arrives.
    """

    serial_log: Path
    log: Path
    cwd: Path | None = None
    patterns: Sequence[str] = ()
    unwanted: Sequence[str] = ()
    echo: Callable[[bytes], None] | None = None


@asynccontextmanager
async def start(
    argv: Callable[[Channels], Sequence[str]],
    listening: Listening,
    *,
    make: Callable[..., Session] = Session,
    side_signs: Mapping[str, Kind] = FIRMWARE,
) -> AsyncIterator[Session]:
    """Start QEMU, stopped, and yield its session; QEMU is gone when the block is left.

    `make` is the session's class, `side_signs` the signs on the side channel next to the serial port.

    Raises `QemuError`, with QEMU's message, when it does not start.
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
        log = listening.log
        begin = log.stat().st_size if log.exists() else 0
        inherited = [end.fileno() for end in theirs]
        machine = stack.enter_context(process.spawn(words, log=log, cwd=listening.cwd, pass_fds=inherited))
        for end in theirs:
            end.close()
        serial_file = stack.enter_context(contextlib.closing(SerialLog(listening.serial_log)))
        console = Console(SERIAL, listening.patterns, listening.unwanted)
        session = make(machine, console, Console(side_signs), echo=listening.echo)
        async with _attached(session, machine, ours, serial_file, lambda: _output(log, begin)):
            yield session


@asynccontextmanager
async def _attached(
    session: Session,
    machine: subprocess.Popen[bytes],
    sockets: Sequence[socket.socket],
    serial_log: SerialLog,
    output: Callable[[], str],
) -> AsyncIterator[None]:
    client = QMPClient("roost")
    listener = EventListener()
    client.register_listener(listener)
    try:
        await asyncio.wait_for(client.connect(sockets[0]), START)
    except (QMPError, TimeoutError, OSError) as error:
        with contextlib.suppress(subprocess.TimeoutExpired):
            machine.wait(1)
        raise QemuError("QEMU does not start this machine", tail=output() or str(error)) from error
    serial_reader, serial_writer = await asyncio.open_connection(sock=sockets[1])
    side_reader, side_writer = await asyncio.open_connection(sock=sockets[2])
    session.attach(client, serial_writer, side_writer)

    async def follow(reader: asyncio.StreamReader, console: Console, sink: Callable[[bytes], None]) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(1 << 16):
                sink(data)
                session.changed()
                if len(data) < FULL:
                    await asyncio.sleep(PAUSE)
        console.close(session.now)
        session.changed()

    def serial(data: bytes) -> None:
        session.serial.feed(data, session.now)
        serial_log.write(data)
        if session.echo:
            session.echo(data)

    async def events() -> None:
        async for message in listener:
            data = message.get("data")
            session.happened(Event(session.now, str(message["event"]), dict(data) if isinstance(data, dict) else {}))
            session.changed()

    readers = [
        asyncio.create_task(follow(serial_reader, session.serial, serial)),
        asyncio.create_task(follow(side_reader, session.firmware, session.heard)),
    ]
    events_task = asyncio.create_task(events())
    try:
        yield
        if session.gone:
            # The last output of QEMU is still in the sockets.
            await asyncio.wait(readers, timeout=5)
            for _ in range(100):
                if client.runstate != Runstate.RUNNING and listener.empty():
                    break
                await asyncio.sleep(0.01)
    finally:
        for task in (*readers, events_task):
            task.cancel()
        await asyncio.gather(*readers, events_task, return_exceptions=True)
        for writer in (serial_writer, side_writer):
            writer.close()
        with contextlib.suppress(Exception):
            machine.kill()
            await asyncio.wait_for(client.disconnect(), 2)


def _output(log: Path, begin: int) -> str:
    with log.open("rb") as file:
        file.seek(begin)
        lines = process.tail(file.read(65536)).splitlines()
    return "\n".join(line for line in lines if not line.startswith("$ "))
