"""What a guest waited for while starting: systemd's messages about unfinished units, and silences. Pure.

systemd regularly prints which unit it waits for and for how long (manager_print_jobs_in_progress in
src/core/manager.c); other init systems print nothing. Each job of an image waits as long as its test boot did, so a
long wait is reported even if everything else is fine.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

#: How many units are kept, and how many waits are listed.
_KEPT, _LISTED = 64, 5
#: Seconds that init may take, from its first line to the job: scaled, and wall time.
INIT = (10.0, 15.0)
#: A wait of this many seconds (scaled, and wall time) is reported while it lasts.
LONG = (5.0, 25.0)

_RUNNING = re.compile(
    r"(?:A (?P<verb>start|stop) job is running for (?P<what>.+?)|Job (?P<unit>\S+)/(?P<kind>start|stop) running)"
    r" \((?P<time>(?:\d+(?:d|h|min|ms|s) ?)+)(?: / [^)]*)?\)"
)
_PART = re.compile(r"(\d+)(d|h|min|ms|s)")
_SECONDS: Mapping[str, float] = {"d": 86400.0, "h": 3600.0, "min": 60.0, "s": 1.0, "ms": 0.001}


@dataclass(frozen=True, slots=True)
class Wait:
    """What was waited for, and for how many seconds."""

    what: str
    seconds: float


@dataclass(slots=True)
class Waits:
    """Follows a console's lines: the longest wait for each unit, and the longest silence of init."""

    units: dict[str, float]
    silence: Wait | None = None
    _last: tuple[float, str] | None = None

    def line(self, text: str, seconds: float, *, in_init: bool) -> None:
        """Process a line received at `seconds` after the start."""
        if "running" in text and (match := _RUNNING.search(text)):
            what = (match["what"] or match["unit"]).strip()[:200]
            if (match["verb"] or match["kind"]) == "stop":
                what = f"the end of {what}"
            if what in self.units or len(self.units) < _KEPT:
                self.units[what] = max(self.units.get(what, 0.0), _duration(match["time"]))
        if in_init and self._last is not None:
            gap = seconds - self._last[0]
            if self.silence is None or gap > self.silence.seconds:
                self.silence = Wait(self._last[1][:200], round(gap, 1))
        self._last = (seconds, text) if in_init else None

    def longest(self) -> tuple[Wait, ...]:
        """Return the units that were waited for longest, the longest first."""
        ordered = sorted(self.units.items(), key=lambda pair: -pair[1])
        return tuple(Wait(what, seconds) for what, seconds in ordered[:_LISTED])


def _duration(text: str) -> float:
    return sum(int(number[:9]) * _SECONDS[unit] for number, unit in _PART.findall(text))


def slow(waits: Sequence[Wait], silence: Wait | None, taken: float, limit: float) -> tuple[str, ...]:
    """Return a note if init took longer than `limit` seconds, with what it waited for; else an empty tuple."""
    if taken <= limit:
        return ()
    whose = [f"{one.seconds:.0f} s for {one.what}" for one in waits[:3]]
    if whose:
        why = f"it waited {', '.join(whose)}"
    elif silence is not None and silence.seconds >= taken / 4:
        why = f"the console was silent for {silence.seconds:.0f} s after '{silence.what}'"
    else:
        why = "the console does not say what it waited for"
    return (f"init took {taken:.0f} s, at most {limit:.0f} s were expected: {why}; every job waits as long",)
