"""What was seen of a machine from its start to its end, without its disks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from roost.boot.console import Sign
from roost.boot.evidence import Evidence
from roost.boot.monitor import Event
from roost.boot.waits import Wait
from roost.boot.watch import Goal, Phase


@dataclass(frozen=True, slots=True)
class Screen:
    """The guest's screen at the end: a PNG, and its text if it was in text mode; empty without a screen."""

    picture: bytes = b""
    text: str = ""


@dataclass(frozen=True, slots=True)
class Observation:
    """What was seen of a machine from start to end; times are seconds after the start, `started_at` since the epoch.

    `button` is when the power button was pressed, None if it was not; `job` the job's last lines on the console;
    `waits` what init waited for longest, `silence` its longest silence; `version` the hypervisor's. `limit` is how long
    the boot could take, `limited_by` what that is made of; `starved` how many seconds did not count because the host
    had no core for the guest, `starved_kernel` those of the kernel's phase.
    """

    stop: str
    ended: float
    started_at: float
    phases: tuple[tuple[Phase, float], ...]
    serial: Mapping[str, Sign]
    firmware: Mapping[str, Sign]
    events: tuple[Event, ...]
    exits: tuple[int, ...]
    matched: Mapping[str, str]
    root_disk_seen: bool | None
    button: float | None
    console: str
    screen: Screen
    job: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    silence: Wait | None = None
    slow: frozenset[str] = frozenset()
    version: str = ""
    limit: float | None = None
    limited_by: str = ""
    starved: float = 0.0
    starved_kernel: float = 0.0

    def seconds(self) -> dict[str, float]:
        """Return how long each phase took."""
        ends = [begin for _name, begin in self.phases[1:]] + [self.ended]
        return {name: round(end - begin, 3) for (name, begin), end in zip(self.phases, ends, strict=True)}

    def evidence(self, goal: Goal, **found: Any) -> Evidence:
        """Return the evidence of this run, with what was `found` on the disks."""
        return Evidence(
            goal=goal,
            stop=self.stop,
            phases=self.phases,
            serial=self.serial,
            firmware=self.firmware,
            events=self.events,
            exits=self.exits,
            root_disk_seen=self.root_disk_seen,
            button=self.button is not None,
            waits=self.waits,
            ended=self.ended,
            limit=self.limit,
            limited_by=self.limited_by,
            starved=self.starved,
            **found,
        )
