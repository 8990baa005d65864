"""A running domain of Xen as a session: what Xen's first domain tells about it, in QMP's terms, and what it is told.

QEMU's own events concern the whole machine, not the domain, and are ignored: the session's events are those of the
domain (`roost.boot.domain`).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roost.boot import domain
from roost.boot.console import Kind, kind
from roost.boot.monitor import Event, Processors
from roost.boot.session import QemuError, Session
from roost.host import jsontext

_LINE = 1 << 16

#: Messages of the first domain's tools take the place of a firmware's: pygrub is the boot loader.
TOOLS: Mapping[str, Kind] = {
    "boot-sector": kind(r"^xl create: pygrub", "pygrub"),
    "direct-kernel": kind(r"^xl create: a kernel", "a kernel"),
    "not-bootable": kind(r"^pygrub: |^Xen cannot start", "pygrub: ", "Xen cannot start"),
}


@dataclass
class Domain(Session):
    """A running domain. `starts` says whether pygrub or a kernel starts it."""

    starts: str = "pygrub reads the first disk"
    running: bool = False
    #: The first domain's messages about itself, by event: ready, released, adopted.
    _of_itself: dict[str, Mapping[str, Any]] = field(default_factory=dict)
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
            case "ready" | "released" | "adopted" as event:
                self._of_itself[event] = message
                if "xen" in message:
                    self.version = f"Xen {message['xen']}"[:40]
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
        await self.let_run()
        await self.answer("ready", seconds)

    async def let_run(self) -> None:
        """Let the virtual CPUs of QEMU run; time starts now."""
        await super().resume()

    async def answer(self, event: str, seconds: float) -> Mapping[str, Any]:
        """Return the first domain's message `event` about itself; `seconds` is the deadline on the session's clock.

        Raises `QemuError` when there is none by then.
        """
        while not (event in self._of_itself or self.gone or self.refused or self.now > seconds):
            await self.wait(0.2)
        if event not in self._of_itself:
            why = self.refused or (
                "QEMU ended" if self.gone else f"its first domain is not {event} after {seconds:.0f} s"
            )
            raise QemuError("Xen does not start in QEMU", tail=f"Xen does not start in QEMU: {why}")
        return self._of_itself[event]

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

    async def tell(self, message: Mapping[str, Any]) -> None:
        """Send a message to the first domain."""
        await self.send_side(json.dumps(message).encode() + b"\n")


@dataclass
class Resumed(Domain):
    """A domain that is resumed in a saved QEMU, together with Xen and its first domain."""

    running: bool = True

    async def resume(self) -> None:
        """Let the virtual CPUs run; time starts now."""
        await Session.resume(self)
