"""A loaded recipe: its final values, where each was written, and the directories of its files and its image."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roost.errors import Location, Problem, RecipeError
from roost.recipe.model import Recipe
from roost.recipe.nodes import Node, Scalar


@dataclass(frozen=True, slots=True)
class Resolved:
    """One value of the final recipe, its location (None: a model default), and those of the variables in it."""

    path: tuple[str | int, ...]
    value: Any
    where: Location | None
    through: tuple[Location, ...] = ()


@dataclass(frozen=True, slots=True)
class Loaded:
    """A recipe and its origin. `files` are all recipe files read, the recipe's own first."""

    recipe: Recipe
    path: Path
    files: tuple[Path, ...]
    positions: Node
    #: The values of the recipe's variables, for templates.
    variables: Mapping[str, Scalar] = field(default_factory=dict)
    #: The directory that holds build/: the project for its own recipes, the recipe's directory for any other.
    home: Path = Path()
    #: The image's name on the command line: its name, or a path where the recipe is not in the project.
    called: str = ""

    @property
    def directory(self) -> Path:
        """The directory that relative names in the recipe start from."""
        return self.path.parent

    @property
    def build(self) -> Path:
        """The directory of the image; two recipes with the same name have different ones."""
        return self.home / "build" / self.recipe.name

    def where(self, path: Sequence[str | int]) -> Location:
        """Return the location of a value such as ("disks", 0, "size"), or of its nearest part that was written."""
        return self.positions.locate(path)

    def problem(self, path: Sequence[str | int], what: str, hint: str | None = None) -> Problem:
        """Return a problem located at a value of the recipe, for checks that need more than the recipe."""
        return Problem(what, self.where(path), hint)

    def error(self, path: Sequence[str | int], what: str, hint: str | None = None) -> RecipeError:
        """Return the error for a single such problem."""
        return RecipeError([self.problem(path, what, hint)])

    def resolved(self) -> tuple[Resolved, ...]:
        """Return every value of the final recipe with its origin: those written, then the model's defaults."""
        written = [Resolved(path, node.plain(), node.where, node.through) for path, node in self.positions.leaves()]
        given = {entry.path for entry in written}
        default = [
            entry
            for entry in _defaults(self.recipe.model_dump(mode="json", by_alias=True), ())
            if not any(entry.path[: len(path)] == path or path[: len(entry.path)] == entry.path for path in given)
        ]
        return (*written, *default)


def _defaults(value: Any, path: tuple[str | int, ...]) -> list[Resolved]:
    if isinstance(value, dict) and value:
        return [entry for key, child in value.items() for entry in _defaults(child, (*path, key))]
    if isinstance(value, list) and value:
        return [entry for index, child in enumerate(value) for entry in _defaults(child, (*path, index))]
    return [Resolved(path, value, None)]
