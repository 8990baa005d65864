"""The machine of the test boot with its serial console on this terminal: for a person who wants to look around.

Nothing is judged, nothing has a deadline, and what was changed is thrown away unless a folder is named to keep it in.
"""

from __future__ import annotations

import asyncio
import functools
import os
import sys
import termios
import tty
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

from roost.boot import keep as keeping
from roost.boot import layers, qemu
from roost.boot import session as sessions
from roost.boot import xen as xens
from roost.boot.given import Channels
from roost.boot.kvm import qemu_argv
from roost.boot.machine import Start
from roost.boot.session import RefusedError, Session
from roost.condor.hardware import hardware
from roost.condor.machine import VirtualMachine
from roost.errors import UsageError
from roost.events import Events, Stages
from roost.store.scratch import scratch_directory

#: Ctrl-] ends the machine, as in telnet and virsh console.
ESCAPE = b"\x1d"


def interact(
    vm: VirtualMachine,
    folder: Path,
    *,
    accel: str = "auto",
    machine: Literal["pc", "q35"] = "pc",
    require_kvm: bool = False,
    keep: Path | None = None,
    also: Sequence[Path] = (),
    first: xens.FirstDomain | None = None,
    events: Events | None = None,
) -> None:
    """Run `vm`, whose files are relative to `folder`, until it goes off or the user types Ctrl-].

    `keep` is a new folder for its disks as they are then, and for the files `also`; `first` is Xen and its first
    domain, for a xen machine. Raises `UsageError` when there is no terminal or the folder exists,
    `HypervisorRefusalError` and `RefusedError` for a machine that does not start.
    """
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("--interactive needs a terminal", hint="leave it out for the test boot")
    if keep is not None:
        keeping.refuse_if_taken(keep)
    chosen = xens.choose(accel, first, require_kvm=require_kvm, events=events)
    shape = hardware(vm, machine)
    with scratch_directory() as scratch:
        places = layers.make(shape, folder, scratch)
        base, program = folder.absolute(), qemu.program()
        kernel = base / shape.kernel if shape.kernel else None
        initrd = base / shape.initrd if shape.initrd else None

        def argv(channels: Channels) -> Sequence[str]:
            return qemu_argv(shape, chosen, program, places, channels, kernel=kernel, initrd=initrd)

        if first is None:
            start: Start = functools.partial(sessions.start, argv)
        else:
            start = xens.Xen(first, shape, chosen, program, places, Stages(events), kernel, initrd).start
        if events:
            events.note(f"Ctrl-] ends the machine; what it wrote is {f'kept in {keep}' if keep else 'thrown away'}")
        off = asyncio.run(_talk(start, scratch))
        if keep is not None:
            kernel_files = [base / name for name in (shape.kernel, shape.initrd) if name]
            keeping.keep(shape, places, [*kernel_files, *also], keep, scratch / "log/keep.log")
            if events:
                events.note(
                    f"kept in {keep}{'' if off else '; the machine was cut off: its file systems are not clean'}"
                )


async def _talk(start: Start, scratch: Path) -> bool:
    """Run until the end; return whether the guest switched itself off."""
    typed, out, logs = sys.stdin.fileno(), sys.stdout.fileno(), scratch / "log"
    listening = start(
        serial_log=logs / "serial.log", log=logs / "qemu.log", cwd=scratch, echo=lambda data: _write(out, data)
    )
    # The terminal is the guest's from its start on: until then Ctrl-C ends this.
    async with listening as session:
        with _raw(typed):
            off = await _until_off(session, typed)
        if session.refused or (session.firmware.has("not-bootable") and not session.serial.size):
            raise RefusedError("the machine is not started", tail=session.refused or session.firmware.tail(1))
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
        while not (ended.is_set() or session.gone or session.refused or session.event("SHUTDOWN")):
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
