"""Parse a recipe's YAML into a tree of nodes.

`parse` turns the events of ruamel.yaml's parser into `Node`s. Working on events, not on ruamel's constructed
objects, keeps what those lose or forbid: the location of each key, all duplicate keys at once, and a bound on the
expansion of aliases. Plain scalars follow the core schema of YAML 1.2 (section 10.3.2): `yes` is text, `0755` a number.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from ruamel.yaml import YAML

from roost.errors import Location, Problem
from roost.recipe import syntax
from roost.recipe.nodes import Node, Scalar
from roost.recipe.syntax import REPLACE
from roost.recipe.words import shown

#: Limits above those of any real recipe, so that hostile input (nesting, aliases of aliases) costs little.
MAX_DEPTH = 40
MAX_NODES = 50_000
MAX_BYTES = 1 << 20
#: The maximum number of characters in all values of a recipe, with its bases, aliases and variables expanded.
MAX_TEXT = 16 << 20

_CORE = "tag:yaml.org,2002:"
_INT = re.compile(r"[-+]?[0-9]{1,40}|0o[0-7]{1,40}|0x[0-9a-fA-F]{1,40}")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]{1,3})?")
_WORDS: Mapping[str, Scalar] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}


@dataclass(slots=True)
class _Open:
    """A list or mapping being read; `key` is set between a key and its value."""

    mapping: bool
    where: Location
    anchor: str | None
    replaces: bool
    entries: dict[str, Node] = field(default_factory=dict)
    elements: list[Node] = field(default_factory=list)
    key: tuple[str, Location] | None = None
    begin: int = 0


class _TooMuchError(Exception):
    """Reading cannot continue; the problem is already recorded."""


class _Builder:
    """Turns the parser's events into nodes and records problems."""

    def __init__(self, file: str, noun: str) -> None:
        self.file = file
        self.noun = noun
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
            self.problem(f"the {self.noun} grows to more than {MAX_NODES} values", where, "use fewer aliases")
            raise _TooMuchError

    def event(self, event: Any) -> None:
        """Process one event of ruamel.yaml's parser."""
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
                "a second document", self.at(event.start_mark), f"a {self.noun} is one YAML document: drop the '---'"
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
            self.problem("half a surrogate pair is not a character", where)
            value = ""
        parent = self.open[-1] if self.open else None
        if parent is not None and parent.mapping and parent.key is None:
            # A key is always text: `80:` and `on:` are names.
            self.start_entry(parent, value if isinstance(value, str) else event.value, where)
            if event.anchor:
                self.anchors[event.anchor] = (Node(value, where), 1)
            return
        if not event.value and parent is not None and parent.key is not None:
            # ruamel.yaml locates an empty value after the blank lines that follow its key.
            where = parent.key[1]
        self.put(Node(value, where, written=str(event.value)), event.anchor, 1)

    def alias(self, event: Any) -> None:
        where = self.at(event.start_mark)
        known = self.anchors.get(event.anchor)
        if known is None:
            self.problem(f"the alias *{shown(event.anchor)} has no anchor before it", where)
            known = (Node(None, where), 1)
        node, size = known
        self.grow(size, where)
        # Only aliases can produce more text than the file has.
        self.text += node.extent()[1]
        if self.text > MAX_TEXT:
            self.problem(f"the {self.noun} grows to more than {MAX_TEXT >> 20} MiB", where, "use fewer aliases")
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
            self.problem(f"duplicate key '{shown(key)}'{line}", where, "keep one of them")
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
    """Return the value of a scalar event, and the problem with it or None."""
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


def parse(data: bytes, file: str, noun: str = "recipe") -> tuple[Node | None, list[Problem]]:
    """Return the tree of a YAML document and its syntax problems.

    The tree is None when the document could not be read to its end. Problems name it `file`, of kind `noun`.
    Never raises.
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
        return None, [Problem(f"byte 0x{data[error.start]:02x} is not UTF-8", where, f"save the {noun} as UTF-8")]
    builder = _Builder(file, noun)
    try:
        for event in YAML(typ="safe", pure=True).parse(text):
            builder.event(event)
    except _TooMuchError:
        return None, builder.problems
    except Exception as error:  # ruamel.yaml raises ValueError, IndexError and others on some malformed input
        return None, [*builder.problems, syntax.problem(error, text, file)]
    root = builder.root
    if root is None or root.value is None:
        return None, [*builder.problems, Problem(f"the {noun} is empty", start)]
    return root, builder.problems
