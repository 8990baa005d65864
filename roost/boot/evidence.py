"""The evidence of a test boot, from which the verdict follows. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from roost.boot.console import Sign
from roost.boot.monitor import Event
from roost.boot.waits import Wait
from roost.boot.watch import Goal, Phase
from roost.verify.evidence import FileSystem


@dataclass(frozen=True, slots=True)
class Expected:
    """One expectation: what was expected, whether it was met, and what was found instead (or the line that met it)."""

    what: str
    met: bool
    seen: str
    on_disk: bool = False


@dataclass(frozen=True, slots=True)
class Evidence:
    """The evidence of one test boot. Times are in seconds after the start.

    `stop` is why the watch ended it; `refused` QEMU's message when it would not start; `root_disk_seen` whether the
    guest's kernel found the disk it was booted from (None: unknown); `status` the job's status.json; `exits` the exit
    statuses on the console; `changed` the images whose bytes changed; `exit_status` the one expected of the job;
    `written` the disks that the guest wrote to; `unread` the disks that could not be searched for a status (both None:
    not searched); `unused` the recipe's io disk, if the job did not use it; `job_log` the last lines of the job;
    `waits` what init waited for longest; `ended` is when the watch ended it, `limit` how long the boot could take,
    `limited_by` what that is made of, `starved` how many seconds did not count because the host had no core.
    """

    goal: Goal
    stop: str
    phases: tuple[tuple[Phase, float], ...] = ()
    serial: Mapping[str, Sign] = field(default_factory=dict)
    firmware: Mapping[str, Sign] = field(default_factory=dict)
    events: tuple[Event, ...] = ()
    exits: tuple[int, ...] = ()
    status: Mapping[str, Any] | None = None
    refused: str | None = None
    root_disk_seen: bool | None = None
    button: bool = False
    filesystems: tuple[FileSystem, ...] = ()
    expectations: tuple[Expected, ...] = ()
    changed: tuple[str, ...] = ()
    exit_status: int = 0
    written: tuple[str, ...] | None = None
    unread: tuple[str, ...] | None = None
    unused: str | None = None
    job_log: tuple[str, ...] = ()
    waits: tuple[Wait, ...] = ()
    ended: float = 0.0
    limit: float | None = None
    limited_by: str = ""
    starved: float = 0.0

    @property
    def phase(self) -> Phase:
        """The last phase that the guest reached."""
        return self.phases[-1][0] if self.phases else "start"

    def phase_of(self, *kinds: str) -> Phase:
        """Return the phase of the first of these signs; without one, the last phase before the power-off.

        On a busy host, sign and power-off can arrive together with the same time: the failure was before the power-off.
        """
        first = min((self.serial[kind].seconds for kind in kinds if kind in self.serial), default=None)
        before = [
            name
            for name, begin in self.phases
            if (name != "power-off" if first is None or begin == first else begin < first)
        ]
        return before[-1] if before else self.phase

    @property
    def reason(self) -> str:
        """QMP's reason of the SHUTDOWN: guest-shutdown, guest-reset ...; empty when there was none."""
        return next((event.reason for event in self.events if event.name == "SHUTDOWN"), "")

    @property
    def powered_off(self) -> bool:
        """Whether the guest powered itself off."""
        return self.reason == "guest-shutdown"

    def has_reached(self, *phases: Phase) -> bool:
        """Return whether the guest reached one of `phases`."""
        return any(name in phases for name, _begin in self.phases)
