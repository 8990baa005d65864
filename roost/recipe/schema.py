"""The keys known to the model at each path, as candidates for an unknown key."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Iterator, Sequence

from pydantic import BaseModel

from roost.recipe.model import Recipe
from roost.recipe.os import SOURCES


def models_in(annotation: object) -> Iterator[type[BaseModel]]:
    """Yield the models in a type: in `X | None`, `tuple[X, ...]`, `Annotated[X, …]`."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    elif typing.get_origin(annotation) in {tuple, list, typing.Union, types.UnionType, typing.Annotated}:
        for part in typing.get_args(annotation):
            yield from models_in(part)


def _fields(model: type[BaseModel]) -> dict[str, object]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def keys(path: Sequence[str | int], root: type[BaseModel] = Recipe) -> list[str]:
    """Return the valid keys of the mapping at `path` of a recipe (or another `root`); empty for free mappings."""
    current: list[type[BaseModel]] = [root]
    for step in path:
        if isinstance(step, int):
            continue
        if current and not any(step in _fields(model) for model in current):
            # Not a key but the name of a union's member, which pydantic inserts.
            continue
        annotations = [_fields(model).get(step) for model in current]
        current = [found for annotation in annotations for found in models_in(annotation)]
    return [key for model in current for key in _fields(model)]


def homes() -> dict[str, str]:
    """Return key → its dotted path (`cpus` → `machine.cpus`), for keys that occur only once."""
    return _homes(tuple(SOURCES))


@functools.cache
def _homes(_sources: tuple[str, ...]) -> dict[str, str]:
    found: dict[str, set[str]] = {}

    def walk(model: type[BaseModel], prefix: str, depth: int) -> None:
        for key, annotation in _fields(model).items():
            found.setdefault(key, set()).add(f"{prefix}{key}")
            if depth < 5:
                for below in models_in(annotation):
                    walk(below, f"{prefix}{key}.", depth + 1)

    walk(Recipe, "", 0)
    return {key: paths.pop() for key, paths in found.items() if len(paths) == 1}
