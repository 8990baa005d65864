"""A counter of bytes sent or read, for progress reports."""

from __future__ import annotations

from roost.events import Events


class Counted:
    """A `Progress` that reports the total bytes of a stage so far; `total` is 0 if it is not known."""

    def __init__(self, events: Events, stage: str, total: int = 0) -> None:
        self._events, self._stage, self._total, self._done = events, stage, total, 0

    def __call__(self, size: int) -> None:
        self._done += size
        self._events.progress(self._stage, min(self._done, self._total) if self._total else self._done, self._total)

    def doing(self, what: str) -> None:
        """Report the current operation and file."""
        self._events.doing(self._stage, what)
