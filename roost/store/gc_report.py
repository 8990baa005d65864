"""The result of a collection: each item, why it is garbage, its size, and whether it was removed."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Literal

State = Literal["would go", "gone", "stays"]


@dataclass(slots=True)
class Garbage:
    """One unneeded item: `state` is what happened to it, `problem` why it could not be removed."""

    what: str
    why: str
    bytes: int
    state: State = "would go"
    problem: str = ""

    def to_json(self) -> dict[str, Any]:
        """Return the item's entry of `inv gc --json`."""
        entry = {"what": self.what, "why": self.why, "bytes": self.bytes, "state": self.state}
        return {**entry, "problem": self.problem} if self.problem else entry


@dataclass(slots=True)
class Report:
    """A whole collection of one place; `total` is the size in bytes of everything under its control."""

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
        """Whether everything that should be removed was removed."""
        return not any(item.problem for item in self.items)

    def note(self, text: str) -> None:
        """Add a note, once."""
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
