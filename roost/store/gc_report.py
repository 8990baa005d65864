"""What a collection found: each thing that goes, why, how many bytes, and what became of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["would go", "gone", "stays"]


@dataclass(slots=True)
class Garbage:
    """One thing that nobody needs: `state` is what became of it, `problem` why it could not go."""

    what: str
    why: str
    bytes: int
    state: State = "would go"
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the item's entry of `inv gc --json`."""
        said = {"what": self.what, "why": self.why, "bytes": self.bytes, "state": self.state}
        return {**said, "problem": self.problem} if self.problem else said


@dataclass(slots=True)
class Report:
    """A whole collection of one place; `total` are the bytes of all that it looked at and may judge."""

    place: str
    deleted: bool
    items: list[Garbage] = field(default_factory=list)
    kept: list[dict[str, Any]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    total: int = 0

    def bytes(self, states: Iterable[State] = ("would go", "gone")) -> int:
        """Return the bytes of the items in some states."""
        return sum(item.bytes for item in self.items if item.state in set(states))

    @property
    def ok(self) -> bool:
        """Whether all that should go could go."""
        return not any(item.problem for item in self.items)

    def note(self, text: str) -> None:
        """Say one thing, once."""
        if text not in self.notes:
            self.notes.append(text)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv gc --json`."""
        return {
            "ok": self.ok,
            "place": self.place,
            "deleted": self.deleted,
            "bytes": self.bytes(),
            "total": self.total,
            "items": [item.to_json() for item in self.items],
            "kept": self.kept,
            "notes": self.notes,
        }
