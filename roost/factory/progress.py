"""What an executor tells while it works, apart from how it is shown; and a node's share of it as roost's `Events`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from roost.factory.graph import Node
from roost.factory.outcome import Outcome

#: Notes of one node that are kept for the reports.
KEPT = 20


class Progress(Protocol):
    """A sink for what goes on; every method returns at once and never raises. Called from several threads."""

    def began(self, node: Node) -> None:
        """Say that a node's work starts."""

    def doing(self, node: Node, what: str) -> None:
        """Say what a node does now."""

    def note(self, node: Node, text: str) -> None:
        """Say one thing the user should know."""

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Say how a node ended, or that it was skipped."""


class Silent:
    """The sink of tests and of library callers: shows nothing."""

    def began(self, node: Node) -> None:
        """Ignore the start of a node."""

    def doing(self, node: Node, what: str) -> None:
        """Ignore what a node does."""

    def note(self, node: Node, text: str) -> None:
        """Ignore a note."""

    def ended(self, node: Node, outcome: Outcome) -> None:
        """Ignore the end of a node."""


class NodeEvents:
    """roost's `Events` of one node's work: stages become what the node does, notes are kept too."""

    def __init__(self, node: Node, progress: Progress) -> None:
        self._node, self._progress = node, progress
        self.notes: list[str] = []

    def begin(self, name: str, detail: str) -> None:
        """Say that a stage starts."""
        self._progress.doing(self._node, f"{name} ({detail})" if detail else name)

    def end(self, name: str, seconds: float, ok: bool) -> None:
        """Say nothing: the next stage, or the node's end, follows."""

    def progress(self, name: str, done: float, total: float) -> None:
        """Say nothing: a node's line says what it does, not how far that is."""

    def doing(self, name: str, text: str) -> None:
        """Say nothing: lines of many nodes would change too often to be read."""

    def expect(self, seconds: Mapping[str, float]) -> None:
        """Say nothing: a node's time is not that of its stages."""

    def note(self, text: str) -> None:
        """Pass a note on, and keep it unless it is one too many or there already."""
        if text not in self.notes and len(self.notes) < KEPT:
            self.notes.append(text)
        self._progress.note(self._node, text)
