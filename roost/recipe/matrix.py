"""`matrix`: one image per combination of values. Pure.

    matrix: {os.debian.suite: [bookworm, trixie], machine: {small: {memory: 1GiB}, large: {memory: 8GiB}}}

makes NAME-bookworm-small, NAME-bookworm-large, NAME-trixie-small and NAME-trixie-large. Each key is a path into the
recipe; its values are a list of single values, or a mapping from the label used in the name to any value.
"""

from __future__ import annotations

import itertools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from roost.errors import Problem
from roost.recipe.merge import MATRIX, assign, without
from roost.recipe.nodes import Node, Scalar
from roost.recipe.words import kind, shown

LIMIT = 256


@dataclass(frozen=True, slots=True)
class Variant:
    """One image of a recipe: its name, the tree to validate, and the problems of the combination itself."""

    name: str | None
    tree: Node
    problems: tuple[Problem, ...] = ()
    variables: Mapping[str, Scalar] = field(default_factory=dict)


def _label(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    return re.sub(r"[^a-z0-9._+-]+", "-", str(value).lower()).strip("-") or "-"


def _dimension(node: Node) -> tuple[list[tuple[str, Node]], list[Problem]]:
    """Return the (label, value) pairs of one key of the matrix."""
    if isinstance(node.value, Mapping):
        choices = [(_label(label), value) for label, value in node.value.items()]
    elif isinstance(node.value, tuple):
        for value in node.value:
            if isinstance(value.value, Mapping | tuple) or value.value is None:
                hint = "name such values: {small: {memory: 1GiB}, large: {memory: 8GiB}}"
                return [], [
                    Problem(f"a list of a matrix holds single values, found {kind(value.value)}", value.where, hint)
                ]
        choices = [(_label(value.value), value) for value in node.value]
    else:
        return [], [Problem(f"expected a list of values, found {kind(node.value)}", node.place, None)]
    if not choices:
        return [], [Problem("needs at least one value", node.place)]
    return choices, []


def variants(tree: Node) -> list[Variant]:
    """Return the images made from a merged tree, at least one."""
    matrix = tree.items.get(MATRIX)
    rest = without(tree, MATRIX)
    name = rest.items["name"].text if "name" in rest.items else None
    if matrix is None:
        return [Variant(name, rest)]
    if not isinstance(matrix.value, Mapping):
        problem = Problem(f"expected a mapping from keys to lists of values, found {kind(matrix.value)}", matrix.place)
        return [Variant(name, rest, (problem,))]
    problems: list[Problem] = []
    dimensions: list[tuple[str, list[tuple[str, Node]]]] = []
    for key, node in matrix.value.items():
        choices, found = _dimension(node)
        problems += found
        if choices:
            dimensions.append((key, choices))
    if math.prod(len(choices) for _, choices in dimensions) > LIMIT:
        problems.append(Problem(f"the matrix makes more than {LIMIT} images", matrix.place))
    if problems:
        return [Variant(name, replace(rest, incomplete=True), tuple(problems))]
    return _combined(rest, name, dimensions, matrix)


def _combined(
    rest: Node, name: str | None, dimensions: list[tuple[str, list[tuple[str, Node]]]], matrix: Node
) -> list[Variant]:
    made: list[Variant] = []
    names: set[str] = set()
    for combination in itertools.product(*(choices for _, choices in dimensions)):
        tree, problems = rest, []
        for (key, _), (_, value) in zip(dimensions, combination, strict=True):
            tree, problem = assign(tree, key, value, matrix.items[key].key)
            problems += [problem] if problem is not None else []
        full = None
        if name is not None:
            full = "-".join([name, *(label for label, _ in combination)])
            if full in names:
                hint = "label the values: {one: …, two: …}"
                problems.append(Problem(f"two images would be named '{shown(full)}'", matrix.place, hint))
            names.add(full)
            tree = replace(tree, value={**tree.items, "name": replace(tree.items["name"], value=full)})
        made.append(Variant(full, tree, tuple(problems)))
    return made
