"""What is going on, apart from how it is shown.

Long work says what it does through an `Events` sink passed down to it: `stage` opens a named, timed step, `note` says
one thing worth knowing, `progress` moves a step along, `doing` says in words where it is. `roost.cli` chooses the sink:
rich on a terminal, plain lines otherwise, standard error when standard output carries JSON.
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
        """Say that the stage `name` starts."""

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Say that the stage `name` ended after `seconds`."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Say that `done` of `total` (bytes, files, seconds) of the stage `name` are behind us."""

    def doing(self, name: str, text: str) -> None:
        """Say in a line what the stage `name` does now; the next such line takes its place."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Say how long stages took the last time, by their names: those that are to come."""

    def note(self, text: str) -> None:
        """Say one thing the user should know."""


class Silent:
    """The sink of tests and of library callers: shows nothing."""

    def begin(self, name: str, detail: str) -> None:
        """Ignore the start of a stage."""

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Ignore the end of a stage."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Ignore progress."""

    def doing(self, name: str, text: str) -> None:
        """Ignore what is done."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Ignore how long it took."""

    def note(self, text: str) -> None:
        """Ignore a note."""


class Stages:
    """Times stages, tells the sink, and keeps `seconds` per stage for the manifest.

    A stage inside another one, in one thread, has its seconds for itself: the outer one counts what is left, so that
    what a thread did adds up.
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
