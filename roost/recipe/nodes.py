"""A recipe as a tree in which every key and value has a location. `roost.recipe.parse` makes it from YAML."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roost.errors import Location

Scalar = str | int | float | bool | None
#: A path in a recipe: keys and indices, as in pydantic's locations.
Path = Sequence[str | int]


@dataclass(frozen=True, slots=True)
class Node:
    """A value: a scalar, a tuple of nodes, or a mapping of nodes.

    `where` is the location of the value, `key` that of the key before it. `replaces` is the tag `!replace`.
    `incomplete` means that something below was removed because it is wrong, so that a missing key is not an error.
    `through` has the locations of the variables used in the value. `written` is a scalar as it stands in the
    file: `1.10` is a number whose shortest form differs. `assigned` is the location of the matrix's key that set the
    value.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    where: Location
    key: Location | None = None
    replaces: bool = False
    incomplete: bool = False
    through: tuple[Location, ...] = ()
    written: str = field(default="", compare=False)
    assigned: Location | None = None

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
        """The location for messages: the value of a scalar or an element, the key of a mapping or list."""
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
        """Return the location of `path`, or of the nearest part of it that exists."""
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
        """Return the number of values from here on, and the number of characters in their texts and keys."""
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
