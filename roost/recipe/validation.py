"""Validate a merged tree: it becomes a `Recipe`, or a list of all its mistakes.

pydantic skips a model's own checks as soon as one of its keys is wrong. To report every mistake in one run,
wrong values are removed (a misspelt key is corrected) and the rest is validated again, until nothing new is found.
Parts with removed values are marked `incomplete`, because their missing keys are not mistakes.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from pydantic import ValidationError

from roost.errors import Location, Problem
from roost.recipe.merge import LOADERS_OWN
from roost.recipe.messages import WRONG_KIND, message
from roost.recipe.model import Recipe
from roost.recipe.nodes import Node
from roost.recipe.schema import keys
from roost.recipe.words import near

_ROUNDS = 6


def validate(tree: Node) -> tuple[Recipe | None, Node, list[Problem]]:
    """Return the recipe, the tree with the mistakes removed, and the mistakes; the recipe is that of this tree.

    The recipe is None when the rest is still invalid.

    Values are taken as written: text does not become a number, nor a number text.
    """
    problems: list[Problem] = []
    seen: set[tuple[str, Location | None]] = set()
    guessed: set[Location | None] = set()
    for _ in range(_ROUNDS):
        try:
            # JSON in strict mode accepts a list for a tuple and text for a UUID, and converts nothing else.
            recipe = Recipe.model_validate_json(json.dumps(tree.plain()), strict=True)
        except ValidationError as error:
            errors = error.errors(include_url=False)
        else:
            return recipe, tree, problems
        before = tree
        for found in _joined(before, errors):
            path, node = _locate(before, found)
            if _is_consequence(found, before, path) or (
                node is not None and _key(node) in guessed and found["type"] in WRONG_KIND
            ):
                continue
            if found["type"] == "extra_forbidden" and node is not None:
                # The key that it is taken for may be another one than was meant.
                guessed.add(_key(node))
            what, hint = message(found, node)
            where = _place(before, path, found)
            if (what, where) not in seen:
                seen.add((what, where))
                problems.append(Problem(what, where, hint))
        tree = _mended(before, errors)
        if tree == before:
            break
    return None, tree, problems


def lacking(tree: Node, places: Collection[Location | None]) -> Node:
    """Return the tree without the values at these locations, and with their parents marked incomplete."""
    if isinstance(tree.value, Mapping):
        kept = {key: lacking(child, places) for key, child in tree.value.items() if child.where not in places}
        return replace(tree, value=kept, incomplete=tree.incomplete or len(kept) < len(tree.value))
    if isinstance(tree.value, tuple):
        return replace(tree, value=tuple(lacking(child, places) for child in tree.value))
    return tree


def _locate(tree: Node, error: Mapping[str, Any]) -> tuple[tuple[str | int, ...], Node | None]:
    """Return the part of pydantic's path that exists in the tree, and the node there.

    A missing key stays in the path, with None; steps that are not keys (members of a union) are dropped.
    """
    node: Node = tree
    taken: list[str | int] = []
    for step in error["loc"]:
        child = node.child(step)
        if child is not None:
            node = child
            taken.append(step)
    if error["type"] == "missing":
        return (*taken, error["loc"][-1]), None
    return tuple(taken), node


def _joined(tree: Node, errors: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return the errors with those of a union's members for the same value merged."""
    joined: list[Mapping[str, Any]] = []
    of_value: dict[tuple[str | int, ...], int] = {}
    for error in errors:
        path, _ = _locate(tree, error)
        if error["type"] == "missing" or len(error["loc"]) == len(path):
            joined.append(error)
        elif path in of_value:
            first = joined[of_value[path]]
            joined[of_value[path]] = {**first, "others": (*first.get("others", ()), error["type"])}
        else:
            of_value[path] = len(joined)
            joined.append(error)
    return joined


def _place(tree: Node, path: tuple[str | int, ...], error: Mapping[str, Any]) -> Location:
    node = tree.find(path)
    if error["type"] == "extra_forbidden" and node is not None and (key := _key(node)) is not None:
        return key
    return tree.locate(path)


def _key(node: Node) -> Location | None:
    """Return the location of the key of a value, in the matrix if it was written there."""
    return node.assigned or node.key


def _is_consequence(error: Mapping[str, Any], tree: Node, path: tuple[str | int, ...]) -> bool:
    """Return whether the error is only a consequence of another one that is reported."""
    kind = str(error["type"])
    if kind == "missing":
        parent = tree.find(path[:-1]) or tree
        known = keys(path[:-1])
        return parent.incomplete or any(near(key, known) == path[-1] for key in parent.items if key not in known)
    node = tree.find(path)
    if kind == "too_short":
        # pydantic counts only the valid elements.
        return node is not None and (node.incomplete or bool(node.elements))
    return kind in {"value_error", "assertion_error"} and node is not None and node.incomplete


def _mended(tree: Node, errors: Sequence[Mapping[str, Any]]) -> Node:
    """Return the tree with wrong values removed and misspelt keys corrected."""
    removed: set[tuple[str | int, ...]] = set()
    renamed: dict[tuple[str | int, ...], str] = {}
    for error in errors:
        path, node = _locate(tree, error)
        if node is None or not path:
            # A key that a list element lost with its wrong values is not missing: remove the element.
            if _is_remnant(tree, path[:-1]):
                removed.add(path[:-1])
            continue
        if error["type"] == "extra_forbidden":
            known = keys(path[:-1])
            parent = tree.find(path[:-1])
            meant = near(str(path[-1]), [*known, *LOADERS_OWN] if len(path) == 1 else known)
            if meant in known and parent is not None and meant not in parent.items:
                renamed[path] = meant
                continue
        elif error["type"] in {"value_error", "assertion_error", "too_short"} and isinstance(
            node.value, Mapping | tuple
        ):
            if _is_remnant(tree, path):
                removed.add(path)
            continue
        removed.add(path)
    return _without(tree, (), removed, renamed)


def _is_remnant(tree: Node, path: tuple[str | int, ...]) -> bool:
    """Return whether there is an element of a list at `path` whose mistakes have been removed."""
    node = tree.find(path) if path and isinstance(path[-1], int) else None
    return node is not None and node.incomplete


def _without(
    node: Node,
    path: tuple[str | int, ...],
    removed: set[tuple[str | int, ...]],
    renamed: Mapping[tuple[str | int, ...], str],
) -> Node:
    value = node.value
    incomplete = node.incomplete
    if isinstance(value, Mapping):
        entries = {}
        for key, child in value.items():
            if (*path, key) in removed:
                # Removing an unknown key loses nothing; removing a known one with a wrong value leaves a gap.
                incomplete = incomplete or key in keys(path)
                continue
            kept = _without(child, (*path, key), removed, renamed)
            entries[renamed.get((*path, key), key)] = kept
            incomplete = incomplete or kept.incomplete
        return replace(node, value=entries, incomplete=incomplete)
    if isinstance(value, tuple):
        elements = []
        for index, child in enumerate(value):
            if (*path, index) in removed:
                incomplete = True
                continue
            kept = _without(child, (*path, index), removed, renamed)
            elements.append(kept)
            incomplete = incomplete or kept.incomplete
        return replace(node, value=tuple(elements), incomplete=incomplete)
    return node
