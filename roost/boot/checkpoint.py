"""The state of a machine whose job has just started, saved and resumed in a new QEMU: eviction and checkpoint.

HTCondor evicts by the ACPI power button, and checkpoints as libvirt saves: state and disks at one moment, the machine
ended, later resumed in a new one. Both need a guest with a running job. So state and layers are saved once in the test
boot, and each trial resumes copies of them: neither costs a second boot, and the boot itself is not disturbed.

A short job could end before the guest has handled the button. During the eviction trial the job's own disk is therefore
slow: the job cannot write its results unless the guest ignores the button.
"""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roost.boot.backends import Channels, DiskPlace
from roost.boot.console import FIRMWARE, Kind
from roost.boot.session import QemuError, Session
from roost.boot.start import Listening, start
from roost.boot.watch import BUTTON, BootPlan, counted
from roost.condor.hardware import Hardware

#: A file of the scratch directory, which is QEMU's working directory: the path contains no user input.
STATE = "state"
_SAVE, _LOAD = f"exec:cat >{STATE}", f"exec:cat {STATE}"
#: Seconds for writing and for reading the state: memory, at the speed of the host's disk.
DEADLINE = 120.0
#: How long the job's disk stays slow: scaled seconds, and seconds of wall time, for the guest to react to the button.
HOLD = (3.0, 7.0)
#: Signs on the console of a guest that is shutting down.
GOING = ("shutting-down", "power-down")

Argv = Callable[[Channels, Mapping[str, DiskPlace], str], Sequence[str]]


@dataclass(frozen=True, slots=True)
class Trial:
    """The result of a machine that was resumed from the saved state; `ok` is None when unknown."""

    tried: bool
    ok: bool | None
    seconds: float | None
    seen: str

    def to_json(self, word: str) -> dict[str, Any]:
        """Return the trial's part of the JSON contract; `word` is the key of `ok`."""
        return {"tried": self.tried, word: self.ok, "seconds": self.seconds, "seen": self.seen}


@dataclass
class Checkpoint:
    """The saved machine: `places` are the copies of its disks, `problem` is why there are none.

    `make` is the class of the resumed session, `side_signs` the signs on the side channel next to its serial port.
    """

    scratch: Path
    hardware: Hardware
    make: Callable[..., Session] = Session
    side_signs: Mapping[str, Kind] = field(default_factory=lambda: FIRMWARE)
    places: dict[str, DiskPlace] = field(default_factory=dict)
    problem: str | None = "its job never ran"

    async def take(self, session: Session, places: Mapping[str, DiskPlace]) -> None:
        """Save a running machine, and let it continue."""
        self.problem = await session.save(_SAVE, DEADLINE)
        if self.problem is None:
            try:
                self.places = await asyncio.to_thread(self._copied, places, "saved")
            except OSError as error:
                self.problem = f"its disks cannot be copied: {error.strerror}"
        await session.carry_on()

    def _copied(self, places: Mapping[str, DiskPlace], name: str) -> dict[str, DiskPlace]:
        copies = {}
        for target, place in places.items():
            layer = None
            if place.layer is not None:
                layer = self.scratch / f"{target}-{name}.qcow2"
                shutil.copyfile(place.layer, layer)
            copies[target] = DiskPlace(place.image, layer)
        return copies

    def evict(self, argv: Argv, plan: BootPlan, io: str | None) -> Trial:
        """Press the power button of the machine; `io` is the target of the disk that its job writes to."""
        return self._try("evict", lambda session: _evicted(session, plan, io), argv)

    def restore(self, argv: Argv, plan: BootPlan) -> Trial:
        """Let the resumed machine run until its job has ended, as after a checkpoint."""
        return self._try("restore", lambda session: _ended(session, plan), argv)

    def _try(self, name: str, follow: Callable[[Session], Any], argv: Argv) -> Trial:
        if self.problem is not None:
            return Trial(False, None, None, f"the machine could not be saved: {self.problem}")
        try:
            places = self._copied(self.places, name)
            return asyncio.run(self._resume(name, follow, lambda channels: argv(channels, places, _LOAD)))
        except OSError as error:
            return Trial(False, None, None, f"its disks cannot be copied: {error.strerror}")
        except QemuError as error:
            return Trial(True, False, None, f"QEMU does not resume from the saved state: {error.tail or error}")
        finally:
            for copy in self.scratch.glob(f"*-{name}.qcow2"):
                copy.unlink()

    async def _resume(
        self, name: str, follow: Callable[[Session], Any], argv: Callable[[Channels], Sequence[str]]
    ) -> Trial:
        logs = self.scratch / "log"
        listening = Listening(logs / f"{name}.log", logs / "qemu.log", self.scratch)
        async with start(argv, listening, make=self.make, side_signs=self.side_signs) as session:
            if not await session.loaded(DEADLINE):
                return Trial(True, False, None, "QEMU does not resume from the saved state")
            trial = await follow(session)
            await session.quit()
            return trial  # type: ignore[no-any-return]


def _off(session: Session) -> bool:
    event = session.event("SHUTDOWN")
    return event is not None and event.reason == "guest-shutdown"


async def _evicted(session: Session, plan: BootPlan, io: str | None) -> Trial:
    if io:
        # Before the machine continues: a short job ends at once.
        await session.throttle(io, slow=True)
    await session.resume()
    await session.power_button()
    held, limit = plan.limit(HOLD), plan.limit(BUTTON)
    slow = io is not None
    while not session.over and counted(session.now, session.starved) < limit:
        if io and slow and (session.now >= held or any(map(session.serial.has, GOING))):
            await session.throttle(io, slow=False)
            slow = False
        await session.wait(0.2)
    seconds = round(session.now, 2)
    if not _off(session):
        return Trial(True, False, seconds, f"it did not power off within {limit:.0f} s")
    return went_off(session.serial.signs, seconds, held if io else None)


def went_off(signs: Iterable[str], seconds: float, held: float | None) -> Trial:
    """Judge a guest that powered off `seconds` after the button, by the order of the signs on its console.

    Its job's disk was slow for `held` seconds, or until the guest reported its shutdown; None: there was no disk to
    slow down. A job that ends after that report ends because it may write again: the guest obeyed all the same.
    """
    first = next((sign for sign in signs if sign in (*GOING, "job-finished")), None)
    if first != "job-finished":
        return Trial(True, True, seconds, "it powered off")
    if held is not None and seconds >= held:
        return Trial(True, False, seconds, "it kept running until its job had ended")
    return Trial(True, None, seconds, "its job had ended before it could react")


async def _ended(session: Session, plan: BootPlan) -> Trial:
    await session.resume()
    while not (session.over or plan.is_over(session.now, session.starved)):
        if plan.stays and session.serial.exits:
            break
        await session.wait(0.2)
    seconds = round(session.now, 2)
    if not session.serial.exits:
        how = "it powered off before its job had ended" if session.over else "its job never ended"
        return Trial(True, False, seconds, f"restored: {how}")
    if not (plan.stays or _off(session)):
        return Trial(True, False, seconds, "restored: its job ended, but it did not power off")
    return Trial(True, True, seconds, f"restored: its job ended with exit status {session.serial.exits[-1]}")
