"""A running QEMU, driven by QMP, with its console and events recorded. `roost.boot.start` starts it."""

from __future__ import annotations

import asyncio
import contextlib
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from qemu.qmp import QMPClient, QMPError

from roost.boot.console import Console
from roost.boot.monitor import Event, Processors, parse_forwarded, parse_registers
from roost.errors import ImageError
from roost.host import capacity, migration

#: Seconds in which QEMU must answer a command.
ANSWER = 10.0
#: After this many seconds without output, a console is at a prompt.
QUIET = 0.25
#: Seconds between two questions whether QEMU has read a state.
_POLL = 0.05


class QemuError(ImageError):
    """The hypervisor does not start this machine; `tail` has its message."""


@dataclass
class Session:
    """A running machine. Times are seconds after `resume`."""

    #: None for a machine that QEMU does not run.
    qemu: subprocess.Popen[bytes] | None
    serial: Console
    firmware: Console
    events: list[Event] = field(default_factory=list)
    echo: Callable[[bytes], None] | None = None
    #: The message with which the machine was refused after QEMU had started; None if it was not.
    refused: str | None = None
    #: The hypervisor's version if known, such as "Xen 4.17.6".
    version: str = ""
    _start: float = field(default_factory=time.monotonic)
    _saving: float = 0.0
    _waited: float = 0.0
    _changed: asyncio.Event = field(default_factory=asyncio.Event)
    _client: QMPClient | None = None
    _writer: asyncio.StreamWriter | None = None
    _side: asyncio.StreamWriter | None = None

    def attach(self, client: QMPClient, serial: asyncio.StreamWriter, side: asyncio.StreamWriter) -> None:
        """Take the near ends of QEMU's channels."""
        self._client, self._writer, self._side = client, serial, side

    def changed(self) -> None:
        """Wake all waiters: something has changed."""
        self._changed.set()

    @property
    def now(self) -> float:
        """Return the seconds after the start."""
        return time.monotonic() - self._start

    @property
    def gone(self) -> bool:
        """Whether QEMU has ended."""
        return self.qemu is not None and self.qemu.poll() is not None

    @property
    def over(self) -> bool:
        """Whether the machine has powered off, or QEMU has ended."""
        return self.gone or self.event("SHUTDOWN") is not None

    def event(self, name: str) -> Event | None:
        """Return the first event of this name, or None."""
        return next((event for event in self.events if event.name == name), None)

    def heard(self, data: bytes) -> None:
        """Process data of the side channel: the firmware's debug port."""
        self.firmware.feed(data, self.now)

    def happened(self, event: Event) -> None:
        """Record an event of QEMU's."""
        self.events.append(event)

    async def resume(self) -> None:
        """Let the virtual CPUs run; time starts now."""
        self.start_over()
        await self._ask("cont")

    def start_over(self) -> None:
        """Restart the time at zero."""
        self._start, self._waited = time.monotonic(), self._waited + self.starved

    @property
    def starved(self) -> float:
        """Return for how many seconds since the start a virtual CPU was ready, and the host had no core for it."""
        return capacity.waited(self.qemu.pid) - self._waited if self.qemu is not None else 0.0

    async def wait(self, seconds: float) -> None:
        """Wait for console output, an event, QEMU's end, or until `seconds` have passed."""
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

    async def send_side(self, data: bytes) -> None:
        """Send bytes on the side channel."""
        if self._side is not None:
            with contextlib.suppress(OSError):
                self._side.write(data)
                await self._side.drain()

    async def power_button(self) -> None:
        """Press the ACPI power button, which is all that HTCondor does on eviction."""
        await self._ask("system_powerdown")

    async def status(self) -> str:
        """Return QEMU's run state, such as running, paused, inmigrate; empty when unknown."""
        answer = await self._ask("query-status")
        return str(answer.get("status", "")) if isinstance(answer, dict) else ""

    async def throttle(self, disk: str, *, slow: bool) -> None:
        """Limit the disk at target `disk` to one small operation a second if `slow`, else lift the limit."""
        none = dict.fromkeys(("bps_rd", "bps_wr", "iops_rd", "iops_wr"), 0)
        limits = {"iops": int(slow), "bps": 512 * slow}
        # A virtio disk on PCI is two devices, and the inner one has the blocks.
        for name in (f"/machine/peripheral/disk-{disk}/virtio-backend", f"disk-{disk}"):
            if await self._ask("block_set_io_throttle", {"id": name, **limits, **none}) is not None:
                return

    async def save(self, uri: str, deadline: float) -> str | None:
        """Stop the machine and write its state to `uri`, as libvirt's save does; return the error, or None.

        Its disks are complete then. The machine stays stopped: `carry_on` lets it run again.
        """
        self._saving = time.monotonic()
        await self._ask("stop")
        return await migration.save(self._ask, uri, deadline, lambda: self.gone)

    async def loaded(self, deadline: float) -> bool:
        """Wait until QEMU has read the state that it was started with, `deadline` seconds at most; return whether."""
        ends = time.monotonic() + deadline
        while time.monotonic() < ends and not self.gone:
            status = await self.status()
            if status and status != "inmigrate":
                return not self.gone
            await asyncio.sleep(_POLL)
        return False

    async def carry_on(self) -> None:
        """Let a machine that was saved run again; the time it was stopped does not count."""
        await self._ask("cont")
        self._start += time.monotonic() - self._saving

    async def screenshot(self, file: str) -> bool:
        """Write the screen to a PPM file in QEMU's working directory; return whether there is one."""
        return await self._ask("screendump", {"filename": file}) is not None

    async def memory(self, file: str, begin: int, size: int) -> bool:
        """Write `size` bytes of the guest's memory from physical address `begin` to a file of QEMU's directory."""
        return await self._ask("pmemsave", {"val": begin, "size": size, "filename": file}) is not None

    async def quit(self) -> None:
        """End QEMU cleanly, so that its layers are complete; if it hangs, it is killed when the block is left."""
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

    async def capacities(self) -> list[int]:
        """Return the sizes of the disks in bytes, in the order of QEMU's arguments; empty when unknown."""
        answer = await self._ask("query-block")
        devices = answer if isinstance(answer, list) else []
        return [int(device["inserted"]["image"]["virtual-size"]) for device in devices if device.get("inserted")]

    async def processors(self) -> Processors | None:
        """Return the current state of the virtual CPUs; None when QEMU does not report it."""
        answer = await self._ask("human-monitor-command", {"command-line": "info registers -a"})
        return parse_registers(str(answer)) if isinstance(answer, str) else None

    async def forwarded(self) -> int | None:
        """Return the port of this host's loopback that leads into the guest; None when QEMU does not report it."""
        answer = await self._ask("human-monitor-command", {"command-line": "info usernet"})
        return parse_forwarded(str(answer)) if isinstance(answer, str) else None

    async def _ask(self, command: str, arguments: dict[str, Any] | None = None) -> object:
        if self._client is None:
            return None
        try:
            return await asyncio.wait_for(self._client.execute(command, arguments), ANSWER)
        except (QMPError, TimeoutError, OSError):
            # The machine is ending or has ended, as the events show.
            return None
