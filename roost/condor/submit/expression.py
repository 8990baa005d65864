"""ClassAd expressions: whether condor_submit can parse one, and the value of a constant one.

Requirements, rank, the periodic expressions and `+Attribute` values are ClassAd expressions; so are booleans
such as vm_networking, which condor_submit evaluates without a machine. The grammar is that of the
ClassAd language reference; only what is known at submit time is evaluated, the rest is `UNKNOWN`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from roost.condor.submit.values import (
    ERROR,
    UNDEFINED,
    UNKNOWN,
    Special,
    Value,
    apply_binary,
    apply_unary,
    choose,
    name_of,
    number_of,
)

MAX_DEPTH = 40


class ExpressionError(Exception):
    """The text is not a ClassAd expression; `offset` is where the error is. Never reaches users."""

    def __init__(self, offset: int) -> None:
        super().__init__(offset)
        self.offset = offset


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    start: int


_TOKEN = re.compile(
    r"""(?P<blank>\s+|//[^\n]*|/\*.*?\*/)
      | (?P<number>(?:0[xX][0-9a-fA-F]+|(?:\d+(?:\.\d+)?|\.\d+)(?:[eE][+-]?\d+)?)(?![A-Za-z0-9_.]))
      # Old ClassAd syntax, which submit commands are in: the last quote of all closes, a backslash before it or not.
      | (?P<string>"(?:[^"\\]|\\(?!"\s*\Z).|\\(?="\s*\Z))*")
      | (?P<quoted>'(?:[^'\\]|\\.)*')
      | (?P<name>[A-Za-z_][A-Za-z0-9_]*)
      | (?P<operator>=\?=|=!=|>>>|<<|>>|<=|>=|==|!=|&&|\|\||[-+*/%<>!~&^|?:(){}\[\],;.=])""",
    re.VERBOSE | re.DOTALL,
)

#: Binary operators by precedence, loosest first.
_LEVELS: tuple[frozenset[str], ...] = tuple(
    frozenset(level.split())
    for level in ("||", "&&", "|", "^", "&", "== != =?= =!= is isnt", "< <= > >=", "<< >> >>>", "+ -", "* / %")
)


def evaluate(text: str) -> Value:
    """Return the value of an expression in an empty ad; raises `ExpressionError` when it does not parse."""
    try:
        return _Parser(text).whole()
    except _TooDeepError:
        return UNKNOWN


def parses(text: str) -> int | None:
    """Return None when `text` is an expression, else the offset of the error."""
    try:
        evaluate(text)
    except ExpressionError as error:
        return error.offset
    return None


def as_bool(text: str) -> bool | Special | None:
    """Return a boolean command as condor_submit reads it: True, False, None (refused) or UNKNOWN."""
    try:
        value = evaluate(text)
    except ExpressionError:
        return None
    if value is UNKNOWN:
        return UNKNOWN
    if isinstance(value, bool | int | float):
        return bool(value)
    return None


class _TooDeepError(Exception):
    """Nested deeper than any handwritten expression: left to condor_submit."""


class _Parser:
    def __init__(self, text: str) -> None:
        self.tokens: list[_Token] = []
        self.end = len(text)
        self.index = 0
        self.depth = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if not match:
                raise ExpressionError(position)
            if match.lastgroup != "blank":
                kind, word = str(match.lastgroup), match.group()
                if kind == "name" and word.lower() in ("is", "isnt"):
                    kind, word = "operator", word.lower()
                self.tokens.append(_Token(kind, word, position))
            position = match.end()

    def peek(self) -> _Token:
        return self.tokens[self.index] if self.index < len(self.tokens) else _Token("end", "", self.end)

    def take(self, *texts: str) -> _Token | None:
        token = self.peek()
        if token.kind == "operator" and token.text in texts:
            self.index += 1
            return token
        return None

    def expect(self, text: str) -> None:
        if not self.take(text):
            raise ExpressionError(self.peek().start)

    def whole(self) -> Value:
        value = self.ternary()
        if self.peek().kind != "end":
            raise ExpressionError(self.peek().start)
        return value

    def ternary(self) -> Value:
        self.depth += 1
        if self.depth > MAX_DEPTH:
            raise _TooDeepError(self.peek().start)
        value = self.binary(0)
        if self.take("?"):
            # Blanks are allowed between the two characters of `?:`.
            if self.take(":"):
                other = self.ternary()
                value = other if value is UNDEFINED else value
            else:
                yes = self.ternary()
                self.expect(":")
                no = self.ternary()
                value = choose(value, yes, no)
        self.depth -= 1
        return value

    def binary(self, level: int) -> Value:
        if level == len(_LEVELS):
            return self.unary()
        value = self.binary(level + 1)
        while token := self.take(*_LEVELS[level]):
            value = apply_binary(token.text, value, self.binary(level + 1))
        return value

    def unary(self) -> Value:
        signs: list[str] = []
        while token := self.take("+", "-", "!", "~"):
            signs.append(token.text)
        value = self.postfix()
        for sign in reversed(signs):
            value = apply_unary(sign, value)
        return value

    def postfix(self) -> Value:
        value = self.primary()
        while True:
            if self.take("["):
                self.ternary()
                self.expect("]")
                value = UNKNOWN
            elif self.take("."):
                if self.peek().kind not in ("name", "quoted"):
                    raise ExpressionError(self.peek().start)
                self.index += 1
                value = UNDEFINED if value is UNDEFINED else UNKNOWN
            else:
                return value

    def primary(self) -> Value:  # noqa: PLR0911 - one return per kind of token
        token = self.peek()
        self.index += 1
        if token.kind == "number":
            return number_of(token.text)
        if token.kind == "string":
            return re.sub(r"\\(.)", r"\1", token.text[1:-1], flags=re.DOTALL)
        if token.kind == "quoted":
            return self.call("") if self.peek().text == "(" else UNDEFINED
        if token.kind == "name":
            return self.call(token.text.lower()) if self.peek().text == "(" else name_of(token.text.lower())
        if token.text == "(":
            value = self.ternary()
            self.expect(")")
            return value
        if token.text == "{":
            self.listed("}")
            return ERROR  # a command's value cannot be a list
        if token.text == "[":
            self.record()
            return ERROR
        if token.text == ".":
            # ".name" is an attribute of the outermost ad.
            if self.peek().kind not in ("name", "quoted"):
                raise ExpressionError(self.peek().start)
            self.index += 1
            return UNDEFINED
        raise ExpressionError(token.start)

    def listed(self, close: str) -> list[Value]:
        values: list[Value] = []
        while not self.take(close):
            values.append(self.ternary())
            if not self.take(","):
                self.expect(close)
                break
        return values

    def record(self) -> None:
        while not self.take("]"):
            if self.take(";"):
                continue
            if self.peek().kind not in ("name", "quoted"):
                raise ExpressionError(self.peek().start)
            self.index += 1
            self.expect("=")
            self.ternary()
            if not self.take(";"):
                self.expect("]")
                return

    def call(self, name: str) -> Value:
        self.expect("(")
        values = self.listed(")")
        if name == "ifthenelse" and len(values) == 3:
            return choose(values[0], values[1], values[2])
        if name in ("isundefined", "iserror") and len(values) == 1:
            return UNKNOWN if values[0] is UNKNOWN else values[0] is (UNDEFINED if name == "isundefined" else ERROR)
        return UNKNOWN
