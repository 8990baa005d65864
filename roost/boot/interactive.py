"""The machine of the test boot with its serial console on this terminal, for interactive use.

Nothing is judged, nothing has a deadline, and changes are thrown away unless a directory to keep them in is given.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from roost.boot import keep as keeping
from roost.boot import overlays, qemu, xen_host
from roost.boot import start as starting
from roost.boot import xen as xens
from roost.boot.backends import Channels, DiskPlace, direct_kernel
from roost.boot.context import Context
from roost.boot.domain import HostXen
from roost.boot.kvm import qemu_argv
from roost.boot.machine import Start
from roost.boot.session import QemuError, Session
from roost.boot.start import Listening
from roost.condor.hardware import Hardware, hardware
from roost.errors import UsageError
from roost.events import Stages
from roost.store.scratch import scratch_directory

#: Ctrl-] ends the machine, as in telnet and virsh console.
ESCAPE = b"\x1d"

#: A step before the machine's start or after its end, called with its layers and a directory.
Step = Callable[[Hardware, Mapping[str, DiskPlace], Path], None]


def interact(
    context: Context,
    *,
    keep: Path | None = None,
    also: Sequence[Path] = (),
    before: Step | None = None,
    after: Step | None = None,
) -> None:
    """Run the machine of a context until it powers off or the user types Ctrl-].

    `keep` is a new directory for its disks as they are then, and for the files `also`; `before` and `after` are steps
    that work on the layers. Raises `UsageError` when there is no terminal or the directory exists,
    `HypervisorRefusalError` and `QemuError` for a machine that does not start.
    """
    refuse_without_terminal()
    if keep is not None:
        keeping.refuse_if_taken(keep)
    how, first, events = context.how, context.first, context.events
    chosen = xens.choose(how.accel, first, require_kvm=how.require_kvm, events=events)
    shape = hardware(context.vm, how.machine)
    with scratch_directory() as scratch:
        places = overlays.make(shape, context.directory, scratch)
        if before is not None:
            before(shape, places, scratch)
        program, direct = qemu.program(), direct_kernel(context.directory, shape)

        def argv(channels: Channels) -> Sequence[str]:
            return qemu_argv(shape, chosen, program, places, channels, direct)

        if first is None:
            start: Start = functools.partial(starting.start, argv)
        elif isinstance(first, HostXen):
            start = xen_host.Host(first, shape, places, direct).start
        else:
            start = xens.Xen(first, shape, chosen, program, places, Stages(events), direct).start
        if events:
            events.note(f"Ctrl-] ends the machine; what it wrote is {f'kept in {keep}' if keep else 'thrown away'}")
        off = asyncio.run(_talk(start, scratch))
        if after is not None:
            after(shape, places, scratch)
        if keep is not None:
            kernel_files = [file for file in (direct.kernel, direct.initrd) if file] if direct else []
            keeping.keep(shape, places, [*kernel_files, *also], keep, scratch / "log/keep.log")
            if events:
                events.note(
                    f"kept in {keep}{'' if off else '; the machine was cut off: its file systems are not clean'}"
                )


def refuse_without_terminal() -> None:
    """Raise `UsageError` when standard input or output is not a terminal."""
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError(
            "a console needs a terminal: standard input or output is not one",
            hint="run it in a terminal; `inv boot NAME` boots without one",
        )


async def _talk(start: Start, scratch: Path) -> bool:
    """Run until the end; return whether the guest powered itself off."""
    typed, out, logs = sys.stdin.fileno(), sys.stdout.fileno(), scratch / "log"
    listening = Listening(logs / "serial.log", logs / "qemu.log", scratch, echo=lambda data: _write(out, data))
    # From the start of the guest on, the terminal belongs to it; until then Ctrl-C ends the task.
    async with start(listening) as session:
        with _raw(typed):
            off = await _until_off(session, typed)
        if session.refused or (session.firmware.has("not-bootable") and not session.serial.size):
            raise QemuError("the machine is not started", tail=session.refused or session.firmware.tail(1))
        return off


async def _until_off(session: Session, typed: int) -> bool:
    ended = asyncio.Event()
    loop = asyncio.get_running_loop()
    pending: set[asyncio.Task[None]] = set()

    def read() -> None:
        data = os.read(typed, 1024)
        if not data or ESCAPE in data:
            ended.set()
            return
        task = loop.create_task(session.type(data.decode("utf-8", "surrogateescape")))
        pending.add(task)
        task.add_done_callback(pending.discard)

    loop.add_reader(typed, read)
    try:
        await session.resume()
        while not (ended.is_set() or session.over or session.refused):
            await session.wait(1.0)
    finally:
        loop.remove_reader(typed)
    event = session.event("SHUTDOWN")
    await session.quit()
    return event is not None and event.reason == "guest-shutdown"


def _write(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]


@contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    before = termios.tcgetattr(descriptor)
    try:
        tty.setraw(descriptor)
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
