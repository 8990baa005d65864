"""Merge recipes: bases at the bottom, the recipe above, `--set` on top. Pure functions over `Node`s.

Lists append, mappings merge, single values replace; `!replace` before a list or mapping discards those of the bases.
Every node keeps the location it was read from, so that a mistake is reported in the file that contains it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from roost.errors import Location, Problem
from roost.recipe.nodes import Node
from roost.recipe.parse import parse
from roost.recipe.words import did_you_mean, shown

#: Keys that the loader consumes; they are not part of the model.
EXTENDS = "extends"
MATRIX = "matrix"
VARIABLES = "variables"
#: All of them, for suggestions of names.
LOADERS_OWN = (EXTENDS, MATRIX, VARIABLES)


def merge(below: Node, above: Node) -> Node:
    """Return `below` overridden by `above`."""
    incomplete = below.incomplete or above.incomplete
    if above.replaces:
        return above
    if isinstance(below.value, Mapping) and isinstance(above.value, Mapping):
        entries = dict(below.value)
        for key, node in above.value.items():
            entries[key] = merge(entries[key], node) if key in entries else node
        return replace(above, value=entries, incomplete=incomplete)
    if isinstance(below.value, tuple) and isinstance(above.value, tuple):
        return replace(above, value=(*below.value, *above.value), incomplete=incomplete)
    return above


def without(tree: Node, *keys: str) -> Node:
    """Return a mapping without some of its keys."""
    return replace(tree, value={key: node for key, node in tree.items.items() if key not in keys})


def placed(node: Node, where: Location) -> Node:
    """Return the node with all of its locations set to `where`."""
    value = node.value
    if isinstance(value, Mapping):
        value = {key: placed(child, where) for key, child in value.items()}
    elif isinstance(value, tuple):
        value = tuple(placed(child, where) for child in value)
    return replace(node, value=value, where=where, key=where)


def assign(tree: Node, dotted: str, value: Node, at: Location | None = None) -> tuple[Node, Problem | None]:
    """Return the tree with `value` at a dotted path such as `os.debian.suite`, `disks.root.size` or `disks.0.size`.

    Elements of a list are selected by index or by `name`. Missing mappings are created. The value keeps its location;
    `at` is that of the path, where mistakes in it are reported: it may have several values.
    """
    steps = dotted.split(".")
    return _assign(tree, steps, replace(value, assigned=at), dotted)


def _assign(node: Node, steps: list[str], value: Node, dotted: str) -> tuple[Node, Problem | None]:
    if not steps:
        return value, None
    at = value.assigned or value.where
    # A key may itself contain dots (an attribute, a file's name): the longest existing key wins.
    step, rest = steps[0], steps[1:]
    for length in range(len(steps), 1, -1):
        if ".".join(steps[:length]) in node.items:
            step, rest = ".".join(steps[:length]), steps[length:]
            break
    if not step:
        return node, Problem(f"'{shown(dotted)}' is not a key", at, "write keys with dots: machine.memory")
    if isinstance(node.value, tuple):
        names = {child.items["name"].text: index for index, child in enumerate(node.value) if "name" in child.items}
        index = int(step) if step.isascii() and step.isdigit() and len(step) < 6 else names.get(step)
        if index is None or index >= len(node.value):
            known = [*(name for name in names if name), *map(str, range(len(node.value)))]
            return node, Problem(f"the list has no '{shown(step)}'", at, did_you_mean(step, known))
        changed, problem = _assign(node.value[index], rest, value, dotted)
        elements = (*node.value[:index], changed, *node.value[index + 1 :])
        return replace(node, value=elements), problem
    below = node.items.get(step) or Node({}, at, at)
    changed, problem = _assign(below, rest, value, dotted)
    return replace(node, value={**node.items, step: changed}), problem


def read_set(setting: str) -> tuple[str, Node | None, list[Problem]]:
    """Return key, value and problems of one `--set key=value`; the value is parsed as YAML."""
    key, equals, text = setting.partition("=")
    key = key.strip()
    where = Location(f"--set {shown(key)}")
    if not equals or not key:
        return key, None, [Problem("'--set' needs key=value", where, "such as --set machine.memory=2GiB")]
    if not text.strip():
        return key, Node(None, where, where), []
    try:
        data = text.encode()
    except UnicodeEncodeError:
        return key, None, [Problem("the value is not UTF-8", where)]
    node, problems = parse(data, where.file)
    if node is None and not problems[:-1] and problems[-1].what == "the recipe is empty":
        return key, Node(None, where, where), []
    located = [Problem(problem.what, where, problem.hint) for problem in problems]
    return key, placed(node, where) if node is not None else None, located
