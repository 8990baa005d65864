"""Xen and its first domain, saved when they were up: restoring them takes a second, starting them several times that.

Under emulation their start is the same work every time. So it is done once with blank disks, which lose their driver
before QEMU's state is saved: the saved machine has never seen an image, and nothing it knows of a disk outlives it.
Every later boot restores that state with its own disks. The first domain gets the time and new random numbers, and its
driver finds the disks anew. It then reports them, and they must be those that QEMU has.

The machines are kept beside the files of the first domain, in the same entry of the cache. They are used only without
KVM: under KVM the state would depend on the processor. On any failure or difference, the reason is logged and Xen is
started as usual.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from roost.boot import start as starting
from roost.boot import xen_machine
from roost.boot.accelerator import Accelerator
from roost.boot.backends import Channels
from roost.boot.start import Listening
from roost.boot.xen_machine import FirstDomain
from roost.boot.xen_session import TOOLS, Domain
from roost.condor.hardware import Hardware
from roost.host import checksum, jsontext, saved_machines, temporary
from roost.host.saved_machines import UnusableError

#: The files of a saved machine: QEMU's state, what the first domain had written to its console, the checksum.
STATE, CONSOLE, RECORD = "state", "dom0.log", "machine.json"
#: How long Xen's start may take, and how long restoring: scaled, and wall time; seconds for saving.
START, RESTORE, SAVE = (30.0, 60.0), (2.0, 20.0), 60.0
#: The state's name in QEMU's directory: the path contains no user input.
_LINK = "dom0-state"
_BLANK, _SECTOR = 1 << 20, 512

Argv = Callable[[Channels], Sequence[str]]


def place(first: FirstDomain, hardware: Hardware, accelerator: Accelerator, program: str) -> Path | None:
    """Return the path of the machine for a boot, existing or not; None when none is used."""
    if accelerator.name != "tcg" or len(hardware.disks) > xen_machine.MOST_DISKS:
        return None
    machines = first.root.parent / saved_machines.DIRECTORY
    temporary.sweep(machines)
    argv = xen_machine.blank_argv(hardware, accelerator, program, Channels(0, 0, 0))
    try:
        key = hashlib.sha256(repr([argv, *saved_machines.identity(Path(program))]).encode()).hexdigest()[:32]
        return None if saved_machines.given_up(machines / key) else machines / key
    except OSError:
        return None


def exists(machine: Path) -> bool:
    """Return whether a machine was saved."""
    return (machine / RECORD).is_file()


def limit(accelerator: Accelerator, seconds: tuple[float, float]) -> float:
    """Return a deadline in seconds from its scaled part and its wall time."""
    return seconds[0] * accelerator.factor + seconds[1]


async def save(machine: Path, first: FirstDomain, argv: Argv, accelerator: Accelerator, log: Path) -> None:
    """Start Xen with blank disks, and save it as `machine`; `argv` returns QEMU's arguments for that.

    Raises `BusyError` when another command is saving, and many others.
    """
    with saved_machines.saving(machine) as directory:
        scratch = directory.parent
        xen_machine.lay_out(first, scratch)
        (scratch / "log").mkdir()
        with (scratch / xen_machine.BLANK).open("xb") as file:
            file.truncate(_BLANK)
        listening = Listening(scratch / "log/serial.log", log, scratch)
        async with starting.start(argv, listening, make=Domain, side_signs=TOOLS) as session:
            assert isinstance(session, Domain)
            await session.bring_up(limit(accelerator, START))
            await session.tell({"do": "release"})
            await session.answer("released", session.now + limit(accelerator, RESTORE))
            if (error := await session.save(f"exec:cat >{directory.name}/{STATE}", SAVE)) is not None:
                raise UnusableError(f"QEMU did not save the machine: {error}")
            await session.quit()
        shutil.copyfile(scratch / "log" / CONSOLE, directory / CONSOLE)
        record = {"state": await asyncio.to_thread(checksum.sha256, directory / STATE)}
        (directory / RECORD).write_text(json.dumps(record))


@asynccontextmanager
async def restored(
    machine: Path, argv: Argv, listening: Listening, make: Callable[..., Domain], seconds: float
) -> AsyncIterator[Domain]:
    """Yield the session of a saved machine that has taken the disks which `argv` names.

    Raises `UnusableError` when it has not, or not within `seconds`, and many others.
    """
    begin = time.monotonic()
    assert listening.cwd is not None, "the state is in QEMU's directory"
    record = jsontext.read(machine / RECORD)
    if record["state"] != await asyncio.to_thread(checksum.sha256, machine / STATE):
        raise UnusableError("the saved machine is damaged")
    (listening.cwd / _LINK).symlink_to(machine / STATE)
    shutil.copyfile(machine / CONSOLE, listening.cwd / "log" / CONSOLE)

    def incoming(channels: Channels) -> list[str]:
        return [*argv(channels), "-incoming", f"exec:cat {_LINK}"]

    async with starting.start(incoming, listening, make=make, side_signs=TOOLS) as session:
        assert isinstance(session, Domain)
        if not await session.loaded(begin + seconds - time.monotonic()):
            raise UnusableError("QEMU does not resume from the saved state")
        await session.let_run()
        await session.tell({"do": "adopt", "now": time.time(), "seed": secrets.token_hex(64)})
        message = await session.answer("adopted", begin + seconds - time.monotonic())
        _compare(message, await session.capacities())
        os.utime(machine)
        yield session


def _compare(message: Mapping[str, Any], capacities: Sequence[int]) -> None:
    """Raise `UnusableError` unless the first domain's disks are QEMU's: vda and so on, with these sizes in bytes."""
    expected = [[f"vd{chr(ord('a') + number)}", -(-size // _SECTOR)] for number, size in enumerate(capacities)]
    if not expected or message.get("disks") != expected:
        raise UnusableError(f"the restored machine has other disks: {str(message.get('disks'))[:400]}")
