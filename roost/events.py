"""Progress events, independent of how they are shown.

Long work reports its progress through an `Events` sink passed down to it: `stage` opens a named, timed step, `note`
reports one fact worth knowing, `progress` advances a step, `doing` describes its current work. `roost.cli` selects the
sink: rich on a terminal, plain lines otherwise, standard error when standard output carries JSON.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Protocol


class Events(Protocol):
    """A sink for progress; every method returns at once and never raises."""

    def begin(self, name: str, detail: str) -> None:
        """Report that the stage `name` starts."""

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Report that the stage `name` ended after `seconds`."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Report that `done` of `total` (bytes, files, seconds) of the stage `name` are finished."""

    def doing(self, name: str, text: str) -> None:
        """Describe in a line what the stage `name` is doing; the next such line replaces it."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Announce the coming stages, by name, with the seconds that they took the last time."""

    def note(self, text: str) -> None:
        """Report one fact that the user should know."""


class Silent:
    """The sink of tests and of library callers: shows nothing."""

    def begin(self, name: str, detail: str) -> None:
        """Ignore the start of a stage."""

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Ignore the end of a stage."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Ignore progress."""

    def doing(self, name: str, text: str) -> None:
        """Ignore the current activity."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Ignore the expected times."""

    def note(self, text: str) -> None:
        """Ignore a note."""


class Stages:
    """Times stages, reports them to the sink, and keeps `seconds` per stage for the manifest.

    The seconds of a nested stage in the same thread count only for itself: the outer one gets the rest, so that a
    thread's stages add up.
    """

    def __init__(self, events: Events | None = None) -> None:
        self.events: Events = events or Silent()
        self.seconds: dict[str, float] = {}
        self._inner = threading.local()

    @contextmanager
    def stage(self, name: str, detail: str = "") -> Iterator[None]:
        """Time the body as one stage called `name`."""
        self.events.begin(name, detail)
        outer = getattr(self._inner, "seconds", 0.0)
        self._inner.seconds = 0.0
        start = time.monotonic()
        ok = False
        try:
            yield
            ok = True
        finally:
            seconds = time.monotonic() - start
            own = max(0.0, seconds - self._inner.seconds)
            self._inner.seconds = outer + seconds
            self.seconds[name] = round(self.seconds.get(name, 0.0) + own, 3)
            self.events.end(name, seconds, ok)

    def note(self, text: str) -> None:
        """Pass a note to the sink."""
        self.events.note(text)
