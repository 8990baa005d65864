"""Drives one session to its end: lets it run, polls what the console cannot show, stops it."""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from roost.boot import postmortem
from roost.boot.console import Console, Sign
from roost.boot.machine import Start
from roost.boot.observation import Observation, Screen
from roost.boot.session import QemuError, Session
from roost.boot.start import Listening
from roost.boot.waits import LONG
from roost.boot.watch import UNSTORED, BootPlan, Phase, Watch, decide, timeline
from roost.condor.hardware import AttachedDisk, Hardware
from roost.errors import HostError
from roost.events import Events
from roost.host import causes

#: Seconds between two polls of the virtual CPUs and the disk's counters.
LOOK = 1.0
#: After this many seconds of silence a console may belong to a dead machine.
SILENT = 2.0
#: After this many seconds of silence the progress says so.
QUIET = 10.0
#: A kernel that runs this long (scaled, and wall time) without output has its memory examined.
SPEECHLESS = (4.0, 5.0)
MEMORY = 1 << 30
#: The kernel's names for the disks of a bus.
_NAMES = {"virtio": ("vd",), "scsi": ("sd",), "ide": ("sd", "hd")}

__all__ = ["Observation", "QemuError", "Screen", "drive"]
#: The timestamp of a kernel message (printk).
_TIME = re.compile(r"^\[ *\d+\.\d+\] ")


@dataclass
class _Inside:
    """Looks for a kernel's last messages in the memory of a machine whose console shows no kernel message.

    `directory` is QEMU's, `size` the number of bytes to examine; `messages` are those found, by kind of sign.
    """

    directory: Path
    size: int
    looked: bool = False
    messages: tuple[tuple[str, str], ...] = ()

    async def look(self, session: Session, watch: Watch) -> None:
        """Examine the memory, unless the console shows kernel messages or no kernel runs."""
        if (
            not self.size
            or watch.paging_at is None
            or session.serial.has("kernel")
            or session.serial.has("kernel-line")
        ):
            return
        self.looked = True
        file = self.directory / "memory"
        try:
            if await session.memory(file.name, 0, self.size):
                words = await asyncio.to_thread(postmortem.last_words, file)
                self.messages = tuple(("panic" if "panic" in text else "no-root", text) for text in words)
        finally:
            file.unlink(missing_ok=True)


async def _screen(session: Session, directory: Path) -> Screen:
    """Return what is on the machine's screen."""
    picture, text = directory / "screen.ppm", directory / "screen.text"
    if not await session.screenshot(picture.name) or not picture.exists():
        return Screen()
    converted = await asyncio.to_thread(postmortem.png, picture.read_bytes())
    if converted is None:
        return Screen()
    data, size = converted
    in_text_mode = size in postmortem.TEXT_MODES and await session.memory(
        text.name, postmortem.TEXT_SCREEN, postmortem.TEXT_SIZE
    )
    return Screen(data, postmortem.screen_text(text.read_bytes()) if in_text_mode and text.exists() else "")


@dataclass
class _Drive:
    """One session in progress: its goal, and what has been seen besides its console."""

    session: Session
    plan: BootPlan
    root: AttachedDisk
    inside: _Inside
    events: Events | None
    watch: Watch = field(default_factory=Watch)
    reads: dict[str, int | None] = field(default_factory=lambda: {"kernel": None, "end": None})

    async def until_stop(self, at_job: Callable[[Session], Awaitable[None]] | None) -> str:
        """Poll the machine until `decide` returns a stop; return the reason."""
        session, watch, plan = self.session, self.watch, self.plan
        looked = None
        reported: set[str] = set()
        while True:
            if session.refused:
                raise QemuError("the machine is not started", tail=session.refused)
            if session.gone:
                return "ended" if session.event("SHUTDOWN") else "gone"
            if at_job and session.serial.has("job-started"):
                await at_job(session)
                at_job = None
            now = session.now
            action = decide(plan, session.serial, session.firmware, session.events, watch, now)
            if action.kind == "stop":
                return action.why
            if action.kind == "button":
                watch.button_at = now
                await session.power_button()
            elif action.kind == "ask":
                watch.asked_at = now
                await session.type("cat /proc/partitions\n")
            if self.reads["kernel"] is None and (session.serial.has("kernel") or session.serial.has("kernel-line")):
                self.reads["kernel"] = await session.reads(self.root.target)
            if looked is None or now - looked >= LOOK:
                looked = now
                await self._look(now)
                paced = plan.limit(SPEECHLESS)
                if not self.inside.looked and watch.paging_at is not None and now - watch.paging_at >= paced:
                    await self.inside.look(session, watch)
                    if any(kind == "panic" for kind, _ in self.inside.messages):
                        return "panic"
            if self.events:
                self.events.doing("boot", self._doing(now))
            self._report_waits(reported)
            await session.wait(LOOK)

    @property
    def phases(self) -> tuple[tuple[Phase, float], ...]:
        """The phases that the guest has reached."""
        return timeline(self.session.serial.signs, self.session.firmware.signs, self.watch.paging_at)

    def _doing(self, now: float) -> str:
        """Return the guest's progress in one line; for a silent guest, also since when and how long it may take."""
        session, phases = self.session, self.phases
        silent = now - max(session.serial.last_byte or 0.0, session.firmware.last_byte or 0.0)
        whole = self.plan.paced(phases, self.watch.starved_kernel).whole
        waiting = f"no output for {silent:.0f} s (limit: {whole:.0f} s in all)" if silent >= QUIET else ""
        return where(phases[-1][0], session.serial, waiting)

    def _report_waits(self, reported: set[str]) -> None:
        """Report once each unit that the guest waits long for; `reported` are those already reported."""
        for wait in self.session.serial.waits.longest():
            if self.events and wait.what not in reported and wait.seconds >= self.plan.limit(LONG):
                reported.add(wait.what)
                self.events.note(f"the guest has waited {wait.seconds:.0f} s for {wait.what}")

    async def _look(self, now: float) -> None:
        """Poll CPUs and counters while the console does not show what happens."""
        session, watch = self.session, self.watch
        watch.starve(session.starved, now, self.phases)
        kernel = session.serial.has("kernel") or session.serial.has("kernel-line")
        silent = now - (session.serial.last_byte or 0.0) >= SILENT
        if (not kernel and watch.paging_at is None) or silent:
            processors = await session.processors()
            if processors is not None:
                if processors.paging and watch.paging_at is None and not kernel:
                    watch.paging_at = now
                watch.rests(now, dead=processors.dead)
        else:
            # What was seen before the console spoke says nothing of the guest that speaks now.
            watch.rests(now, dead=False)
        if not kernel and watch.paging_at is None:
            before = watch.reads
            watch.reads = await session.reads(self.root.target) or 0
            if watch.reads != before:
                watch.read_at = now


def where(phase: str, console: Console, waiting: str = "") -> str:
    """Return the guest's progress in one line: its phase, and its last console line without the kernel's timestamp."""
    last = _TIME.sub("", console.tail(1)).strip()
    return ": ".join(filter(None, (phase, waiting, last)))


async def drive(
    start: Start,
    plan: BootPlan,
    hardware: Hardware,
    listening: Listening,
    *,
    events: Events | None = None,
    at_job: Callable[[Session], Awaitable[None]] | None = None,
) -> Observation:
    """Start a machine, run it until `decide` returns a stop, and return what was seen.

    `at_job` is called once, when its job runs. The memory of a machine with a silent console is examined.

    Raises `QemuError` when the hypervisor does not start it, `HostError` as soon as the host cannot store what the
    guest writes.
    """
    cwd, root = listening.cwd, hardware.boot_disk or hardware.disks[0]
    shown = Screen()
    inside = _Inside(cwd or listening.log.parent, min(hardware.memory << 20, MEMORY) if cwd else 0)
    async with start(listening) as session:
        driven = _Drive(session, plan, root, inside, events)
        await session.resume()
        started_at = time.time()
        stop = await driven.until_stop(at_job)
        ended = session.now
        if not session.gone:
            if stop != "ended":
                await inside.look(session, driven.watch)
            shown = await _screen(session, cwd) if hardware.vnc and cwd else shown
            driven.reads["end"] = await session.reads(root.target)
            await session.quit()
    if stop == UNSTORED:
        raise _unstored(session, cwd or listening.log.parent)
    serial, firmware = session.serial, session.firmware
    paced = plan.paced(driven.phases, driven.watch.starved_kernel)
    for kind, text in inside.messages:
        serial.signs.setdefault(kind, Sign(kind, ended, text))
    return Observation(
        stop=stop,
        ended=ended,
        started_at=started_at,
        phases=driven.phases,
        serial=dict(serial.signs),
        firmware=dict(firmware.signs),
        events=tuple(session.events),
        exits=tuple(serial.exits),
        matched=dict(serial.matched),
        slow=frozenset(serial.slow),
        root_disk_seen=_root_disk_seen(serial, root, driven.reads),
        button=driven.watch.button_at,
        console="\n".join(
            filter(None, (serial.tail() or shown.text or firmware.tail(), *(text for _, text in inside.messages)))
        ),
        screen=shown,
        job=tuple(serial.job),
        waits=serial.waits.longest(),
        silence=serial.waits.silence,
        version=session.version,
        limit=paced.whole,
        limited_by=paced.limited_by,
        starved=driven.watch.starved if plan.bound is None else 0.0,
        starved_kernel=driven.watch.starved_kernel,
    )


def _unstored(session: Session, directory: Path) -> HostError:
    why = next(event.unstored for event in session.events if event.unstored is not None)
    cause = causes.behind_words(why)
    hint = f"free some space on the file system of {directory}; ROOST_CACHE names another" if cause else None
    return HostError(f"what the guest wrote could not be stored: {cause.what if cause else why}", hint=hint)


def _root_disk_seen(serial: Console, root: AttachedDisk, reads: Mapping[str, int | None]) -> bool | None:
    """Return whether the kernel found the disk it was booted from, by the best evidence available."""
    names = set(serial.disks)
    listed = re.findall(r"^\s*\d+\s+\d+\s+\d+\s+([a-z]+)\d*$", serial.tail(200), re.MULTILINE)
    names.update(listed)
    if any(name.startswith(_NAMES.get(root.bus, ("xvd",))) for name in names):
        return True
    if listed or "major minor" in serial.tail(200):
        return False
    first, last = reads["kernel"], reads["end"]
    if first is not None and last is not None:
        return last > first
    return None
