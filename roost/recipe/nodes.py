"""A recipe as a tree whose every key and value knows where it stands. `roost.recipe.parse` makes it from YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roost.errors import Location

Scalar = str | int | float | bool | None
#: A path into a recipe: keys and indices, as pydantic names places.
Path = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Node:
    """A value: a scalar, a tuple of nodes, or a mapping of nodes.

    `where` is the place of the value, `key` that of the key before it. `replaces` is the tag `!replace`.
    `incomplete` says that something below was left out because it is wrong, so that what is absent proves nothing.
    `through` are the places of the variables that the value was made with. `written` is a scalar as it stands in the
    file: `1.10` is a number, and not that of its shortest form.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    where: Location
    key: Location | None = None
    replaces: bool = False
    incomplete: bool = False
    through: tuple[Location, ...] = ()
    written: str = field(default="", compare=False)

    @property
    def items(self) -> Mapping[str, Node]:
        """The entries of a mapping; empty for everything else."""
        return self.value if isinstance(self.value, Mapping) else {}

    @property
    def elements(self) -> tuple[Node, ...]:
        """The elements of a list; empty for everything else."""
        return self.value if isinstance(self.value, tuple) else ()

    @property
    def text(self) -> str | None:
        """The value if it is text, else None."""
        return self.value if isinstance(self.value, str) else None

    @property
    def place(self) -> Location:
        """Where to point at: the value of a scalar or an element, the key of a mapping or list."""
        if self.key is not None and isinstance(self.value, Mapping | tuple):
            return self.key
        return self.where

    def child(self, step: str | int) -> Node | None:
        """Return the entry or element `step`, or None."""
        if isinstance(step, int):
            return self.elements[step] if 0 <= step < len(self.elements) else None
        return self.items.get(step)

    def find(self, path: Path) -> Node | None:
        """Return the node at `path`, or None."""
        node: Node | None = self
        for step in path:
            node = node.child(step) if node is not None else None
        return node

    def locate(self, path: Path) -> Location:
        """Return the place of `path`, or of the nearest part of it that exists."""
        node = self
        for step in path:
            node = node.child(step) or node
        return node.place

    def plain(self) -> Any:
        """Return the value as lists, dicts and scalars."""
        if isinstance(self.value, Mapping):
            return {key: node.plain() for key, node in self.value.items()}
        if isinstance(self.value, tuple):
            return [node.plain() for node in self.value]
        return self.value

    def extent(self) -> tuple[int, int]:
        """Return how many values there are from here on, and how many characters their texts and keys have."""
        if isinstance(self.value, str):
            return 1, len(self.value)
        parts = [child.extent() for child in (*self.items.values(), *self.elements)]
        characters = sum(map(len, self.items)) + sum(length for _, length in parts)
        return 1 + sum(count for count, _ in parts), characters

    def leaves(self, path: tuple[str | int, ...] = ()) -> Iterator[tuple[tuple[str | int, ...], Node]]:
        """Yield path and node of every scalar, and of every empty list or mapping."""
        if isinstance(self.value, Mapping) and self.value:
            for key, node in self.value.items():
                yield from node.leaves((*path, key))
        elif isinstance(self.value, tuple) and self.value:
            for index, node in enumerate(self.value):
                yield from node.leaves((*path, index))
        else:
            yield path, self
