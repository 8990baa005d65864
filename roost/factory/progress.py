"""The interface for an executor's progress, independent of its display; and a node's progress as roost's `Events`."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Protocol

from roost.factory.graph import Node
from roost.factory.outcome import Outcome

#: The maximum number of notes kept per node, for the reports.
KEPT = 20
#: Seconds for which a node's activity is shown at least: with many nodes, lines would change too fast to read.
STEADY = 5.0


class Progress(Protocol):
    """A sink for progress; every method returns at once and never raises. Called from several threads."""

    def began(self, node: Node) -> None:
        """Report that a node's work starts."""

    def doing(self, node: Node, what: str) -> None:
        """Report a node's current activity."""

    def note(self, node: Node, text: str) -> None:
        """Report something that the user should know."""

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Report how a node ended, or that it was skipped."""


class Silent:
    """A sink that shows nothing, for tests and library callers."""

    def began(self, node: Node) -> None:
        """Ignore the start of a node."""

    def doing(self, node: Node, what: str) -> None:
        """Ignore a node's activity."""

    def note(self, node: Node, text: str) -> None:
        """Ignore a note."""

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Ignore the end of a node."""


class NodeEvents:
    """roost's `Events` of one node's work: stages become the node's activity, notes are also kept."""

    def __init__(self, node: Node, progress: Progress) -> None:
        self._node, self._progress = node, progress
        self._told = 0.0
        self.notes: list[str] = []

    def begin(self, name: str, detail: str) -> None:
        """Report that a stage starts."""
        self._told = time.monotonic()
        self._progress.doing(self._node, f"{name} ({detail})" if detail else name)

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Ignore the end of a stage: the next stage or the node's end follows."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Ignore progress within a stage: the line of a node shows only its activity."""

    def doing(self, name: str, text: str) -> None:
        """Report a stage's activity, unless the one before was reported a moment ago."""
        now = time.monotonic()
        if now - self._told >= STEADY:
            self._told = now
            self._progress.doing(self._node, f"{name}: {text}")

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Ignore expected times of stages, which do not add up to a node's."""

    def note(self, text: str) -> None:
        """Pass a note on, and keep it unless it is a repetition or there are too many."""
        if text not in self.notes and len(self.notes) < KEPT:
            self.notes.append(text)
        self._progress.note(self._node, text)
