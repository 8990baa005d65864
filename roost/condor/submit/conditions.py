"""`if`, `elif`, `else`, `endif` in submit descriptions.

condor_submit knows four kinds of conditions (condor_utils/config.cpp, Evaluate_config_if): a number or boolean,
`defined NAME`, `version OP X.Y.Z`, and a negation of these; anything else is an error.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

#: The version that `if version` compares with: the release that the rules were verified against.
VERSION = (24, 12, 24)

_NUMBER = re.compile(r"[+-]?(?:\d+(?:\.\d*)?|\.\d+)(?:[eE][+-]?\d+)?")
_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*")
_VERSION = re.compile(r"version\s*(!?)([<=>]?)(=?)\s*[vV]?(\d+)\.(\d+)(?:\.(\d+))?\s*", re.IGNORECASE)
_WORDS = {"true": True, "yes": True, "t": True, "false": False, "no": False, "f": False}
_LINE = re.compile(r":?(if|elif|else|endif)(?=\s|$)", re.IGNORECASE)


class ConditionError(Exception):
    """condor_submit refuses the line; the message is its reason. Never reaches users."""


@dataclass(slots=True)
class Conditions:
    """The open `if`s, outermost first: whether the branch is taken, whether one was taken, whether `else` was seen."""

    stack: list[list[bool]] = field(default_factory=list)

    @property
    def enabled(self) -> bool:
        """Whether statements at this point take effect."""
        return all(level[0] for level in self.stack)

    def feed(self, line: str, expand: Callable[[str], str], defined: Callable[[str], bool]) -> bool:
        """Process a line; return whether it was one of the four statements. Raises `ConditionError`."""
        match = _LINE.match(line)
        if not match or (line.startswith(":") and match[1].lower() != "if" and not self.stack):
            return False
        word, condition = match[1].lower(), line[match.end() :].strip()
        if word == "if":
            if len(self.stack) >= 60:
                raise ConditionError("if nesting too deep!")
            value = self.enabled and _evaluate(condition, expand, defined)
            self.stack.append([value, value, False])
            return True
        if not self.stack:
            raise ConditionError(f"{word} without matching if")
        level = self.stack[-1]
        if word == "endif":
            self.stack.pop()
        elif level[2]:
            raise ConditionError(f"{word} is not allowed after else")
        else:
            outer = all(one[0] for one in self.stack[:-1])
            value = outer and not level[1] and (word == "else" or _evaluate(condition, expand, defined))
            level[0], level[1], level[2] = value, level[1] or value, word == "else"
        return True


def _evaluate(condition: str, expand: Callable[[str], str], defined: Callable[[str], bool]) -> bool:
    text = expand(condition).strip()
    negated = text.startswith("!")
    text = text[1:].strip() if negated else text
    if not text and "$" in condition:
        return negated
    return _plain(text, defined) != negated


def _plain(text: str, defined: Callable[[str], bool]) -> bool:
    if _NUMBER.fullmatch(text):
        return float(text) != 0
    if text.lower() in _WORDS:
        return _WORDS[text.lower()]
    if match := re.match(r"defined(?=\s|$)", text, re.IGNORECASE):
        name = text[match.end() :].strip()
        if not name or name.lower().startswith("use "):
            return False
        if _NUMBER.fullmatch(name) or name.lower() in _WORDS:
            return True
        if not re.fullmatch(r"[A-Za-z0-9_./]+", name):
            raise ConditionError("defined argument must be param name, boolean, or number")
        return defined(name)
    if match := _VERSION.fullmatch(text):
        if int(match[4]) < 6:
            raise ConditionError("the version literal is invalid")
        wanted = (int(match[4]), int(match[5]), int(match[6]) if match[6] else VERSION[2])
        result = {"<": wanted > VERSION, ">": wanted < VERSION}.get(match[2], wanted == VERSION)
        result = result or (bool(match[3]) and wanted == VERSION)
        return result != bool(match[1])
    simple = _NAME.fullmatch(text) or not text
    raise ConditionError("expression is not a conditional" if simple else "complex conditionals are not supported")
