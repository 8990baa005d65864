"""Macro expansion in submit descriptions: $(X), $(X:default), $ENV(X), $F..(X), $CHOICE and their like.

Expansion is lazy, as in condor_submit: a value is stored as written and expanded when it is asked for, with the
definitions that then hold. `$$(X)` is for the machine that the job matches and stays. What depends on the
moment of submission (random choices, the host, queue items from a file that is not there) is marked unknown.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from roost.condor.expression import ExpressionError, evaluate
from roost.condor.expression_values import Special
from roost.condor.source_text import BLANKS, Traced
from roost.errors import Location

#: Bounds of one expansion. condor_submit has none and hangs on a circle; a description never comes near these.
MAX_DEPTH = 24
MAX_LENGTH = 1 << 18
MAX_REFERENCES = 5000

_NAME = re.compile(r"[A-Za-z0-9_./]*")
_FUNCTION = re.compile(r"\$([A-Za-z_]+)\(")
_PATH_FUNCTION = re.compile(r"F[pnxdqabfwuPNXDQABFWU]*")
_FUNCTIONS = frozenset(
    {
        "ENV",
        "RANDOM_CHOICE",
        "RANDOM_INTEGER",
        "CHOICE",
        "SUBSTR",
        "INT",
        "REAL",
        "STRING",
        "EVAL",
        "BASENAME",
        "DIRNAME",
    }
)
#: Names that condor_submit defines itself; those that differ from host to host are unknown here.
CONSTANTS = {"dollar": "$", "islinux": "true", "iswindows": "false"}
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
    """Expands values against one table of definitions (lower-case names); collects what it met on the way."""

    table: Mapping[str, Assignment]
    live: Mapping[str, Traced | None]
    environment: Mapping[str, str]
    undefined: dict[str, Location] = field(default_factory=dict)
    endless: dict[str, Location] = field(default_factory=dict)
    used: set[str] = field(default_factory=set)
    _references: int = 0
    _stack: list[str] = field(default_factory=list)

    def expand(self, value: Traced) -> Traced:
        """Return `value` with every macro replaced; circles and explosions end up in `endless`, unknown."""
        if "$" not in value.text:
            return value
        if len(value.text) > MAX_LENGTH:
            return self._give_up(value, "")
        closing = _closing(value.text)
        parts: list[Traced] = []
        done = 0
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
            if sum(len(part.text) for part in parts[-2:]) + len(value.text) > MAX_LENGTH:
                return self._give_up(value, "")
        return Traced.join([*parts, value.cut(done)]) if parts else value

    @staticmethod
    def _literal(text: str, position: int) -> int:
        # "$$(" is left for the matched machine; only what stands inside its parentheses is expanded now.
        return 2 if text.startswith("$$", position) else 1

    def _reference(  # noqa: PLR0911 - each return is a form that is no macro
        self, value: Traced, position: int, closing: Mapping[int, int]
    ) -> tuple[Traced, int] | None:
        text = value.text
        if text.startswith("$$", position):
            return None
        function = _FUNCTION.match(text, position)
        name = function[1] if function else ""
        if function and name not in _FUNCTIONS and not _PATH_FUNCTION.fullmatch(name):
            return None
        opening = function.end() - 1 if function else position + 1
        if not text.startswith("(", opening) or opening not in closing:
            return None
        end = closing[opening]
        where = value.at(position)
        body = self._inner(value.cut(opening + 1, end))
        if body is None:
            return None
        if function:
            return self._function(name, body, where), end + 1
        split = _NAME.match(body.text)
        assert split is not None
        if split.end() < len(body.text) and body.text[split.end()] != ":":
            return None
        default = body.cut(split.end() + 1) if split.end() < len(body.text) else None
        return self._variable(split.group(), default, where), end + 1

    def _inner(self, body: Traced) -> Traced | None:
        if "$" not in body.text:
            return body
        if len(self._stack) >= MAX_DEPTH:
            return None
        self._stack.append("")
        try:
            return self.expand(body)
        finally:
            self._stack.pop()

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
            return Traced.of("", where, fixed=True, unknown=True) if item is None else item
        if key in self.table:
            if not self.table[key].value.text and default is not None:
                return default
            self._stack.append(key)
            try:
                return self.expand(self.table[key].value)
            finally:
                self._stack.pop()
        if key in CONSTANTS:
            return Traced.of(CONSTANTS[key], where, fixed=True)
        if key in OF_THE_HOST:
            return Traced.of(f"{name}", where, fixed=True, unknown=True)
        if default is not None:
            return default
        if key not in LIVE and name:
            self.undefined.setdefault(name, where)
        return Traced.of(LIVE.get(key, ""), where, fixed=True)

    def _give_up(self, value: Traced, name: str) -> Traced:
        self.endless.setdefault(name or value.text[:40], value.at())
        return Traced.of("", value.at(), fixed=True, unknown=True)

    def _value_of(self, name: str) -> Traced:
        """Return what a function's first argument stands for: a macro's value, or nothing."""
        return self._variable(name, None, Location("")) if _NAME.fullmatch(name) else Traced.of("", Location(""))

    def _function(self, name: str, body: Traced, where: Location) -> Traced:
        words = [word.strip(BLANKS) for word in body.text.split(",")]
        first = words[0]
        if name == "ENV":
            variable, colon, default = body.text.partition(":")
            found = self.environment.get(variable)
            text: str | None = found if found is not None else default if colon else "UNDEFINED"
            return Traced.of(text or "", where, fixed=True, unknown=body.unknown)
        subject = self._value_of(first) if name not in ("RANDOM_CHOICE", "RANDOM_INTEGER") else body
        text = _compute(name, words, subject.text, self._value_of)
        return Traced.of(text or "", where, fixed=True, unknown=text is None or subject.unknown or body.unknown)


def _compute(  # noqa: PLR0911 - one return per function
    name: str, words: list[str], value: str, value_of: Callable[[str], Traced]
) -> str | None:
    """Return a function's result, or None where it cannot be known (or condor_submit would abort)."""
    if name == "CHOICE":
        index = value if value.isdigit() else words[0]
        choices = words[1:] if len(words) > 2 else _items(value_of(words[-1]).text) if len(words) > 1 else []
        return choices[int(index)] if index.isdigit() and len(index) < 9 and int(index) < len(choices) else None
    if name == "SUBSTR":
        numbers = [int(word) for word in words[1:3] if re.fullmatch(r"-?\d{1,6}", word)]
        if len(numbers) == 1:
            return value[numbers[0] :]
        return value[numbers[0] :][: numbers[1]] if len(numbers) == 2 and numbers[1] >= 0 else None
    if name in ("INT", "REAL", "EVAL"):
        return _number(name, value) if len(words) == 1 or words[1] in ("%d", "%s") else None
    if name == "STRING":
        return value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
    if name == "BASENAME":
        return posixpath.basename(value)
    if name == "DIRNAME":
        return posixpath.dirname(value)
    return _file_name(name[1:], value) if name.startswith("F") else None


def _items(text: str) -> list[str]:
    return [word for word in re.split(r"[\s,]+", text) if word]


def _number(name: str, text: str) -> str | None:
    try:
        value = evaluate(text)
    except ExpressionError:
        return None
    if isinstance(value, bool | Special | str):
        return None
    return str(int(value)) if name == "INT" or isinstance(value, int) else str(value)


def _file_name(options: str, path: str) -> str | None:
    """Return the parts of a path that $F's letters name (p directory, n name, x extension; q quotes)."""
    flags = options.lower()
    if set(flags) - set("pnxq"):
        return None
    unquoted = path[1:-1] if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'" else path
    directory, base = posixpath.split(unquoted)
    stem, extension = posixpath.splitext(base)
    wanted = set(flags) - {"q"}
    result = unquoted if not wanted else ""
    if "p" in wanted:
        result += f"{directory}/" if directory not in ("", "/") else directory
    result += (stem if "n" in wanted else "") + (extension if "x" in wanted else "")
    return f'"{result}"' if "q" in flags else result


def _closing(text: str) -> dict[int, int]:
    """Return for each opening parenthesis where its partner stands."""
    pairs: dict[int, int] = {}
    opened: list[int] = []
    for index, char in enumerate(text):
        if char == "(":
            opened.append(index)
        elif char == ")" and opened:
            pairs[opened.pop()] = index
    return pairs
