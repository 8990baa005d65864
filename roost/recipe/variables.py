"""`variables`: values defined once and used in any text of a recipe. Pure.

    variables: {suite: bookworm, room: 512MiB}
    os: {debian: {suite: "{{ suite }}"}}

`{{ name }}` in a value is replaced after `extends`, `matrix` and `--set`, so that each of them may set
`variables.suite`. A value that consists of one variable takes its type. `\\{{ name }}` is kept, without its
backslash; a recipe that declares no variables is left unchanged. The size of the values is bounded (`Room`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from roost.errors import Problem
from roost.recipe.merge import VARIABLES, without
from roost.recipe.nodes import Node, Scalar
from roost.recipe.parse import MAX_BYTES, MAX_TEXT
from roost.recipe.words import did_you_mean, kind, near, shown

#: The start of a variable's use.
BEGINS = "{{"
_NAME = r"[A-Za-z_][A-Za-z0-9_]*"
_USE = re.compile(rf"(?P<kept>\\)?\{{\{{[ \t]*(?P<name>{_NAME})[ \t]*\}}\}}")
#: The maximum number of unknown variables reported.
_UNKNOWN = 100


@dataclass(slots=True)
class Room:
    """The number of characters by which the values of all of a recipe's images together may still grow."""

    left: int = MAX_TEXT


class _TooLargeError(Exception):
    """The substituted values exceed the limit."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(problem.what)
        self.problem = problem


def substituted(tree: Node, room: Room | None = None) -> tuple[Node, Mapping[str, Scalar], list[Problem]]:
    """Return the tree with its variables substituted and their declaration removed; their values; and the problems.

    Every value keeps its location. An unknown variable is left as written. Where the values grow to more than
    `room` allows, or one of them to more than a recipe may have, the tree is left without them.
    """
    room = Room() if room is None else room
    declared = tree.items.get(VARIABLES)
    if declared is None:
        return tree, {}, []
    rest = without(tree, VARIABLES)
    if not isinstance(declared.value, Mapping):
        what = f"expected a mapping from names to values, found {kind(declared.value)}"
        return replace(rest, incomplete=True), {}, [Problem(what, declared.place)]
    problems: list[Problem] = []
    known: dict[str, Node] = {}
    for name, node in declared.value.items():
        if not re.fullmatch(_NAME, name):
            what = f"'{shown(name)}' is not a valid variable name"
            problems.append(Problem(what, node.key, "letters, digits and _, no digit first"))
        elif isinstance(node.value, Mapping | tuple) or node.value is None:
            what = f"a variable is a single value, found {kind(node.value)}"
            problems.append(Problem(what, node.place))
            # Do not report its uses as unknown, too.
            known[name] = replace(node, value=None)
        elif node.text is not None and any(not found["kept"] for found in _USE.finditer(node.text)):
            problems.append(Problem("a variable cannot refer to others", node.where, "write the value out"))
            known[name] = replace(node, value=None)
        else:
            known[name] = node
    try:
        changed = _replaced(rest, known, problems, room)
    except _TooLargeError as error:
        problems.append(error.problem)
        changed = replace(rest, value={key: rest.items[key] for key in rest.items if key == "name"}, incomplete=True)
    return changed, {name: scalar for name, node in known.items() if (scalar := _scalar(node)) is not None}, problems


def _scalar(node: Node) -> Scalar:
    return None if isinstance(node.value, Mapping | tuple) else node.value


def _replaced(node: Node, known: Mapping[str, Node], problems: list[Problem], room: Room) -> Node:
    value = node.value
    if isinstance(value, Mapping):
        return replace(node, value={key: _replaced(child, known, problems, room) for key, child in value.items()})
    if isinstance(value, tuple):
        return replace(node, value=tuple(_replaced(child, known, problems, room) for child in value))
    if not isinstance(value, str) or BEGINS not in value:
        return node
    _grow(node, value, known, room)
    return _text(node, value, known, problems)


def _grow(node: Node, text: str, known: Mapping[str, Node], room: Room) -> None:
    """Subtract the length of a substituted value from `room`; raise `_TooLargeError` before it is made."""
    grown = len(text) + sum(len(_shown_in_text(found, known)) - len(found[0]) for found in _USE.finditer(text))
    hint = "name large content by `source:`"
    if grown > max(MAX_BYTES, len(text)):
        what = f"with its variables in place the value is larger than {MAX_BYTES >> 20} MiB"
        raise _TooLargeError(Problem(what, node.where, hint))
    room.left -= grown
    if room.left < 0:
        what = f"with its variables in place the recipe is larger than {MAX_TEXT >> 20} MiB"
        raise _TooLargeError(Problem(what, node.where, hint))


def _text(node: Node, text: str, known: Mapping[str, Node], problems: list[Problem]) -> Node:
    """Return a text with its variables substituted; the node records their locations."""
    used: list[Node] = []
    for found in _USE.finditer(text):
        if found["kept"]:
            continue
        variable = known.get(found["name"])
        if variable is None:
            if len(problems) >= _UNKNOWN:
                continue
            hint = did_you_mean(found["name"], known) or "variables is empty"
            if near(found["name"], known) is None:
                hint += f"; if it is to stay as it is, write \\{found[0]}"
            problem = Problem(f"no such variable: '{found['name']}'", node.where, hint)
            if problem not in problems:
                problems.append(problem)
        else:
            used.append(variable)
    through = tuple(dict.fromkeys(variable.place for variable in used))
    whole = _USE.fullmatch(text)
    if whole and not whole["kept"] and used:
        return replace(node, value=_scalar(used[0]), through=through)
    return replace(node, value=_USE.sub(lambda found: _shown_in_text(found, known), text), through=through)


def _shown_in_text(found: re.Match[str], known: Mapping[str, Node]) -> str:
    if found["kept"]:
        return found[0][1:]
    variable = known.get(found["name"])
    if variable is None:
        return found[0]
    value = _scalar(variable)
    return str(value).lower() if isinstance(value, bool) else "" if value is None else str(value)
