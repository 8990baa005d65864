"""A recipe's YAML as a tree whose every key and value knows where it stands.

`parse` turns the events of ruamel.yaml's parser into `Node`s. Doing it from events, not from ruamel's constructed
objects, keeps what they lose or forbid: the place of each key, all duplicate keys at once, and a bound on what
aliases may grow to. Plain scalars follow the core schema of YAML 1.2 (section 10.3.2): `yes` is text, `0755` a number.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML
from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from roost.errors import Location, Problem
from roost.recipe.words import shown

Scalar = str | int | float | bool | None
#: A path into a recipe: keys and indices, as pydantic names places.
Path = Sequence[str | int]

#: Deeper or larger than any recipe; keeps hostile input (nesting, aliases of aliases) from costing memory or time.
MAX_DEPTH = 40
MAX_NODES = 50_000
MAX_BYTES = 1 << 20
#: Characters of all values of a recipe: with its bases, its aliases and its variables in place.
MAX_TEXT = 16 << 20

REPLACE = "!replace"
_CORE = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: Mapping[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(frozen=True, slots=True)
class Node:
    """A value: a scalar, a tuple of nodes, or a mapping of nodes.

    `where` is the place of the value, `key` that of the key before it. `replaces` is the tag `!replace`.
    `incomplete` says that something below was left out because it is wrong, so that what is absent proves nothing.
    `through` are the places of the variables that the value was made with.
    """

    value: Scalar | tuple[Node, ...] | Mapping[str, Node]
    where: Location
    key: Location | None = None
    replaces: bool = False
    incomplete: bool = False
    through: tuple[Location, ...] = ()

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


@dataclass(slots=True)
class _Open:
    """A list or mapping that is being read; `key` is set between a key and its value."""

    mapping: bool
    where: Location
    anchor: str | None
    replaces: bool
    entries: dict[str, Node] = field(default_factory=dict)
    elements: list[Node] = field(default_factory=list)
    key: tuple[str, Location] | None = None
    begin: int = 0


class _TooMuchError(Exception):
    """Reading cannot go on: the problem is already noted."""


class _Builder:
    """Turns the parser's events into nodes, noting problems as it goes."""

    def __init__(self, file: str) -> None:
        self.file = file
        self.problems: list[Problem] = []
        self.root: Node | None = None
        self.open: list[_Open] = []
        self.anchors: dict[str, tuple[Node, int]] = {}
        self.count = 0
        self.text = 0

    def at(self, mark: Any) -> Location:
        return Location(self.file, mark.line + 1, mark.column + 1)

    def problem(self, what: str, where: Location, hint: str | None = None) -> None:
        self.problems.append(Problem(what, where, hint))

    def grow(self, nodes: int, where: Location) -> None:
        self.count += nodes
        if self.count > MAX_NODES:
            self.problem(f"the recipe grows to more than {MAX_NODES} values", where, "use fewer aliases")
            raise _TooMuchError

    def event(self, event: Any) -> None:
        """Take one event of ruamel.yaml's parser."""
        kind = type(event).__name__
        if kind in {"SequenceStartEvent", "MappingStartEvent"}:
            self.begin(event, mapping=kind == "MappingStartEvent")
        elif kind in {"SequenceEndEvent", "MappingEndEvent"}:
            self.end()
        elif kind == "ScalarEvent":
            self.scalar(event)
        elif kind == "AliasEvent":
            self.alias(event)
        elif kind == "DocumentStartEvent" and self.root is not None:
            self.problem(
                "a second document", self.at(event.start_mark), "a recipe is one YAML document: drop the '---'"
            )
            raise _TooMuchError

    def begin(self, event: Any, *, mapping: bool) -> None:
        where = self.at(event.start_mark)
        self.grow(1, where)
        if len(self.open) >= MAX_DEPTH:
            self.problem(f"nested more than {MAX_DEPTH} deep", where)
            raise _TooMuchError
        tag = _tag(event)
        if tag not in {None, REPLACE, _CORE + ("map" if mapping else "seq")}:
            self.problem(f"unknown tag {shown(tag or '')}", where, f"the only tag for lists and mappings is {REPLACE}")
        self.open.append(_Open(mapping, where, event.anchor, tag == REPLACE, begin=self.count - 1))

    def end(self) -> None:
        done = self.open.pop()
        value = done.entries if done.mapping else tuple(done.elements)
        self.put(Node(value, done.where, replaces=done.replaces), done.anchor, self.count - done.begin)

    def scalar(self, event: Any) -> None:
        where = self.at(event.start_mark)
        self.grow(1, where)
        value, mistake = _resolve(event)
        if mistake:
            self.problem(mistake, where)
        if isinstance(value, str) and any("\ud800" <= char <= "\udfff" for char in value):
            self.problem("half a surrogate pair is no character", where)
            value = ""
        parent = self.open[-1] if self.open else None
        if parent is not None and parent.mapping and parent.key is None:
            # A key is text whatever it looks like: `80:` and `on:` are names.
            self.start_entry(parent, value if isinstance(value, str) else event.value, where)
            if event.anchor:
                self.anchors[event.anchor] = (Node(value, where), 1)
            return
        if not event.value and parent is not None and parent.key is not None:
            # ruamel.yaml places a value that is not there after the blank lines behind its key.
            where = parent.key[1]
        self.put(Node(value, where), event.anchor, 1)

    def alias(self, event: Any) -> None:
        where = self.at(event.start_mark)
        known = self.anchors.get(event.anchor)
        if known is None:
            self.problem(f"the alias *{shown(event.anchor)} has no anchor before it", where)
            known = (Node(None, where), 1)
        node, size = known
        self.grow(size, where)
        # Only an alias makes more text than the file has.
        self.text += node.extent()[1]
        if self.text > MAX_TEXT:
            self.problem(f"the recipe grows to more than {MAX_TEXT >> 20} MiB", where, "use fewer aliases")
            raise _TooMuchError
        parent = self.open[-1] if self.open else None
        if parent is not None and parent.mapping and parent.key is None:
            self.start_entry(parent, node.text if node.text is not None else str(node.plain())[:40], where)
            return
        if len(self.open) + _depth(node) > MAX_DEPTH:
            self.problem(f"nested more than {MAX_DEPTH} deep", where)
            raise _TooMuchError
        self.put(node, None, 0)

    def start_entry(self, parent: _Open, key: str, where: Location) -> None:
        if key in parent.entries:
            first = parent.entries[key].key
            line = f", first in line {first.line}" if first else ""
            self.problem(f"the key '{shown(key)}' stands here a second time{line}", where, "keep one of them")
        parent.key = (key, where)

    def put(self, node: Node, anchor: str | None, size: int) -> None:
        if anchor:
            self.anchors[anchor] = (node, size)
        if not self.open:
            self.root = node
            return
        parent = self.open[-1]
        if not parent.mapping:
            parent.elements.append(node)
        elif parent.key is None:
            self.problem("a list or mapping cannot be a key", node.where)
            parent.key = ("?", node.where)
        else:
            key, where = parent.key
            parent.entries[key] = replace(node, key=where)
            parent.key = None


def _depth(node: Node) -> int:
    if isinstance(node.value, Mapping):
        return 1 + max((_depth(child) for child in node.value.values()), default=0)
    return 1 + max((_depth(child) for child in node.elements), default=0)


def _tag(event: Any) -> str | None:
    return str(event.tag) if event.tag is not None else None


def _resolve(event: Any) -> tuple[Scalar, str | None]:
    """Return the value of a scalar event, and what is wrong with it if anything is."""
    text, tag = str(event.value), _tag(event)
    if tag in {"!", _CORE + "str"} or (tag is None and event.style):
        return text, None
    if tag == REPLACE:
        return text, f"{REPLACE} belongs before a list or a mapping: a single value always replaces"
    if tag not in {None, *(_CORE + name for name in ("null", "bool", "int", "float"))}:
        return text, f"unknown tag {shown(tag or '')}"
    return _plain_scalar(text)


def _plain_scalar(text: str) -> tuple[Scalar, str | None]:
    if text in _WORDS:
        return _WORDS[text], None
    if _INT.fullmatch(text):
        return int(text, {"0o": 8, "0x": 16}.get(text[:2], 10)), None
    if _FLOAT.fullmatch(text) and len(text) <= 40:
        number = float(text)
        return (number, None) if abs(number) < 1e300 else (0, f"the number {shown(text)} is too large")
    return text, None


#: What ruamel.yaml's parser says, in words of the person who wrote the file: a piece of its message, what, hint.
_SYNTAX = (
    ("'\\t'", "a tab cannot stand here", "indent with blanks"),
    ("mapping values are not allowed", "a ':' that cannot be here", "check the indentation, or quote the text"),
    ("expected <block end>", "this line fits neither the list or mapping before it nor its parent", "indentation"),
    (
        "but found '<stream end>'",
        "a '[' or '{' that is not closed",
        "items need ',' between them, and a bracket after the last",
    ),
    ("could not find expected ':'", "a key without ':'", "write `key: value`, or check the indentation"),
    ("expected ',' or", "a '[' or '{' that is not closed", "items need ',' between them, and a bracket after the last"),
    ("unexpected end of stream", "a quote that is not closed", None),
    ("unknown escape character", "an unknown escape in double quotes", "use single quotes, or double the backslash"),
    ("undefined tag handle", "an unknown tag", f"the only tag is {REPLACE}"),
    ("found undefined alias", "an alias without anchor", None),
    ("cannot start any token", "a character that no value can begin with", "quote the text"),
    ("expected alphabetic or numeric", "'*' or '&' without a name", "quote the text"),
    ("special characters are not allowed", "a control character", "only printable text may stand in a recipe"),
)


def _syntax(error: Exception, text: str, file: str) -> Problem:
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Problem("a control character", Location(file, line, column), "only printable text may stand in a recipe")
    if not isinstance(error, MarkedYAMLError):
        return Problem("not YAML that can be read", Location(file, 1, 1), str(error)[:80] or None)
    said = f"{error.context or ''} {error.problem or ''}".strip()
    mark = error.problem_mark or error.context_mark
    where = Location(file, mark.line + 1, mark.column + 1) if mark is not None else Location(file, 1, 1)
    if (
        mark is not None
        and "cannot start any token" in said
        and text.splitlines()[mark.line][mark.column :][:1] == "\t"
    ):
        return Problem("a tab cannot stand here", where, "indent with blanks")
    for piece, what, hint in _SYNTAX:
        if piece in said:
            return Problem(what, where, hint)
    return Problem("not YAML", where, shown(said, 160) or None)


def parse(data: bytes, file: str) -> tuple[Node | None, list[Problem]]:
    """Return the tree of a YAML document and what is wrong with its form.

    The tree is None when it could not be read to its end. `file` is the name that problems show. Never raises.
    """
    start = Location(file, 1, 1)
    if len(data) > MAX_BYTES:
        return None, [Problem(f"larger than {MAX_BYTES >> 20} MiB", start, "name large content by `source:`")]
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = data[: error.start]
        column = len(before[before.rfind(b"\n") + 1 :].decode("utf-8", "replace")) + 1
        where = Location(file, before.count(b"\n") + 1, column)
        return None, [Problem(f"byte 0x{data[error.start]:02x} is not UTF-8", where, "save the recipe as UTF-8")]
    builder = _Builder(file)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.event(event)
    except _TooMuchError:
        return None, builder.problems
    except Exception as error:  # ruamel.yaml raises ValueError, IndexError and others on some malformed input
        return None, [*builder.problems, _syntax(error, text, file)]
    root = builder.root
    if root is None or root.value is None:
        return None, [*builder.problems, Problem("the recipe is empty", start)]
    return root, builder.problems
