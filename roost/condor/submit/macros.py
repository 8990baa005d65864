"""Macro expansion in submit descriptions: $(X), $(X:default), $ENV(X), $F..(X), $CHOICE and similar functions.

Expansion is lazy, as in condor_submit: a value is stored as written and expanded on use, with the definitions in
effect then. `$$(X)` is expanded for the matched machine, so it is kept. A value that depends on the
moment of submission (random choices, the host, queue items from a file that is not here) is marked unknown.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from roost.condor.submit import functions
from roost.condor.submit.source_text import BLANKS, Traced
from roost.errors import Location

#: Limits of one expansion. condor_submit has none and hangs on a cycle; real descriptions stay far below them.
MAX_DEPTH = 24
MAX_NESTING = 100
MAX_LENGTH = 1 << 18
MAX_REFERENCES = 5000

_NAME = re.compile(r"[A-Za-z0-9_./]*")
_FUNCTION = re.compile(r"\$([A-Za-z_]+)\(")
_FUNCTIONS = functions.NAMES | {"ENV"}
#: Names that condor_submit defines itself; those that differ between hosts are unknown here.
CONSTANTS = {"dollar": "$", "islinux": "1", "iswindows": "0"}
OF_THE_HOST = frozenset(
    {"arch", "opsys", "opsysver", "opsysandver", "opsysmajorver", "opsysname", "opsyslongname"}
    | {"spool", "submit_time", "year", "month", "day", "submit_file", "condor_version", "condor_config"}
    | {"release_dir", "local_dir", "hostname", "full_hostname", "username"}
)
LIVE = {
    "cluster": "1",
    "clusterid": "1",
    "process": "0",
    "procid": "0",
    "step": "0",
    "row": "0",
    "itemindex": "0",
    "item": "",
    "node": "",
}


@dataclass(frozen=True, slots=True)
class Assignment:
    """`name = value` as it stands in the description: the name as written and the value before expansion."""

    name: str
    value: Traced
    where: Location


@dataclass(slots=True)
class Expander:
    """Expands values against one table of definitions (lower-case names); collects undefined names and the like."""

    table: Mapping[str, Assignment]
    live: Mapping[str, Traced | None]
    environment: Mapping[str, str]
    #: Whether an undefined name may be set from outside, so that its value is unknown.
    open: bool = False
    undefined: dict[str, Location] = field(default_factory=dict)
    endless: dict[str, Location] = field(default_factory=dict)
    aborted: dict[str, Location] = field(default_factory=dict)
    literal: dict[str, Location] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    _references: int = 0
    _stack: list[str] = field(default_factory=list)
    _nesting: int = 0

    def expand(self, value: Traced) -> Traced:
        """Return `value` with every macro expanded; cycles and oversized results go to `endless`, unknown."""
        if "$" not in value.text:
            return value
        if len(value.text) > MAX_LENGTH:
            return self._give_up(value, "")
        closing = _closing(value.text)
        parts: list[Traced] = []
        done = grown = 0
        position = value.text.find("$")
        while position >= 0:
            found = self._reference(value, position, closing)
            if found is None:
                position = value.text.find("$", position + self._literal(value.text, position))
                continue
            replacement, end = found
            parts += [value.cut(done, position), replacement]
            done = end
            position = value.text.find("$", end)
            grown += len(replacement.text)
            if grown + len(value.text) > MAX_LENGTH or self._references > MAX_REFERENCES:
                return self._give_up(value, "")
        return Traced.join([*parts, value.cut(done)]) if parts else value

    @staticmethod
    def _literal(text: str, position: int) -> int:
        # "$$(" is left for the matched machine; only the text inside its parentheses is expanded now.
        return 2 if text.startswith("$$", position) else 1

    def _reference(self, value: Traced, position: int, closing: Mapping[int, int]) -> tuple[Traced, int] | None:
        text = value.text
        function = _FUNCTION.match(text, position)
        name = function[1] if function else ""
        unknown = function and name not in _FUNCTIONS and not functions.is_path_function(name)
        if unknown or text.startswith("$$", position):
            return None
        opening = function.end() - 1 if function else position + 1
        if function and name != "ENV":
            return self._call(value, position, opening)
        if not text.startswith("(", opening) or opening not in closing:
            return None
        end = closing[opening]
        where = value.at(position)
        body = self._inner(value.cut(opening + 1, end))
        if function:
            return self._function(name, body, where), end + 1
        split = _NAME.match(body.text)
        assert split is not None
        if split.end() < len(body.text) and body.text[split.end()] != ":":
            # Not a macro: its body is already expanded; expanding it again at each level would take exponential time.
            return Traced.join([value.cut(position, opening + 1), body, value.cut(end, end + 1)]), end + 1
        default = body.cut(split.end() + 1) if split.end() < len(body.text) else None
        return self._variable(split.group(), default, where), end + 1

    def _call(self, value: Traced, position: int, opening: int) -> tuple[Traced, int] | None:
        """Return the result of a function. Its arguments end at the first `)`, whatever they contain.

        So `$Fn($(x))` takes the text `$(x`, and its result is expanded again together with the `)` after it.
        """
        end = value.text.find(")", opening)
        if end < 0:
            return None
        body = value.cut(opening + 1, end)
        given = self._function(value.text[position + 1 : opening], body, value.at(position))
        if "$" not in body.text or given.unknown:
            return given, end + 1
        return self._inner(Traced.join([given, value.cut(end + 1)])), len(value.text)

    def _inner(self, body: Traced) -> Traced:
        if "$" not in body.text:
            return body
        if self._nesting >= MAX_NESTING:
            return self._give_up(body, "")
        self._nesting += 1
        try:
            return self.expand(body)
        finally:
            self._nesting -= 1

    def _variable(  # noqa: PLR0911 - one return per place where a name can be defined
        self, name: str, default: Traced | None, where: Location
    ) -> Traced:
        key = name.lower()
        self.used.add(key)
        self._references += 1
        if key in self._stack or len(self._stack) >= MAX_DEPTH or self._references > MAX_REFERENCES:
            return self._give_up(Traced.of("", where), name)
        if key in self.live:
            item = self.live[key]
            if item is None:
                return Traced.of("", where, fixed=True, unknown=True)
            return self._within(key, item) if item.text or default is None else default
        if key in self.table:
            if not self.table[key].value.text and default is not None:
                return default
            return self._within(key, self.table[key].value)
        if key in CONSTANTS:
            return Traced.of(CONSTANTS[key], where, fixed=True)
        if key in OF_THE_HOST:
            return Traced.of(f"{name}", where, fixed=True, unknown=True)
        if key == "jobid":
            parts = [self._variable("cluster", None, where), self._variable("process", None, where)]
            return Traced.of(".".join(part.text for part in parts), where, fixed=True)
        if default is not None and not LIVE.get(key):
            return default
        if key not in LIVE and name:
            self.undefined.setdefault(name, where)
            return Traced.of("", where, fixed=True, unknown=self.open)
        return Traced.of(LIVE.get(key, ""), where, fixed=True)

    def _within(self, key: str, value: Traced) -> Traced:
        self._stack.append(key)
        try:
            return self.expand(value)
        finally:
            self._stack.pop()

    def _give_up(self, value: Traced, name: str) -> Traced:
        self.endless.setdefault(name or value.text[:40], value.at())
        return Traced.of("", value.at(), fixed=True, unknown=True)

    def _function(self, name: str, body: Traced, where: Location) -> Traced:
        words = body.text.split(",")
        if name == "ENV":
            variable, colon, default = body.text.partition(":")
            found = self.environment.get(variable)
            text: str | None = found if found is not None else default if colon else "UNDEFINED"
            return Traced.of(text or "", where, fixed=True, unknown=body.unknown)
        first = words[0].strip(BLANKS) if name == "CHOICE" else words[0]
        # The arguments of $RANDOM_... are the choices themselves.
        subject = body if name.startswith("RANDOM_") else self._subject(first, where)
        known = not (subject.unknown or body.unknown)
        text = None
        try:
            text = functions.result(name, words, subject.text, lambda word: self._text_of(word, where))
        except functions.AbortError:
            if known and not (self.open and first in self.literal):
                self.aborted.setdefault(f"${name}({body.text})", where)
        return Traced.of(text or "", where, fixed=True, unknown=text is None or not known)

    def _subject(self, word: str, where: Location) -> Traced:
        """Return the value of a function's first argument: a macro's value, else the word itself."""
        key = word.lower()
        if key in self.live or key in self.table or key in CONSTANTS or key in OF_THE_HOST or key in LIVE:
            return self._variable(word, None, where)
        if re.fullmatch(r"[A-Za-z_]\w*", word):
            self.literal.setdefault(word, where)
            return Traced.of(word, where, fixed=True, unknown=self.open)
        return Traced.of(word, where, fixed=True)

    def _text_of(self, word: str, where: Location) -> str | None:
        if word.lower() in self.live or word.lower() in self.table or word.lower() in LIVE:
            return self._variable(word, None, where).text
        return None


def _closing(text: str) -> dict[int, int]:
    """Return the offset of the matching parenthesis for each opening one."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for index, char in enumerate(text):
        if char == "(":
            opened.append(index)
        elif char == ")" and opened:
            pairs[opened.pop()] = index
    return pairs
