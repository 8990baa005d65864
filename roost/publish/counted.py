"""Bytes that are sent or read, counted for those who watch."""

from __future__ import annotations

from roost.events import Events


class Counted:
    """A `Progress` that tells of all bytes of a stage so far; `total` is 0 where it is not known."""

    def __init__(self, events: Events, stage: str, total: int = 0) -> None:
        self._events, self._stage, self._total, self._done = events, stage, total, 0

    def __call__(self, size: int) -> None:
        self._done += size
        self._events.progress(self._stage, min(self._done, self._total) if self._total else self._done, self._total)

    def doing(self, what: str) -> None:
        """Say what is done with which file."""
        self._events.doing(self._stage, what)
