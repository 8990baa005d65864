"""The values of ClassAd expressions and the operators on them (ClassAd language reference)."""

from __future__ import annotations

import math
import re
from enum import Enum

from roost.host import numbers


class Special(Enum):
    """Values that are not literals: ClassAd's own two, and one for what this evaluator does not know."""

    UNDEFINED = "undefined"
    ERROR = "error"
    UNKNOWN = "unknown"


UNDEFINED, ERROR, UNKNOWN = Special.UNDEFINED, Special.ERROR, Special.UNKNOWN
Value = bool | int | float | str | Special


def number_of(text: str) -> Value:
    """Return the value of a number literal."""
    if text[:2] in ("0x", "0X") or re.fullmatch("0[0-9]+", text):
        return UNKNOWN  # hexadecimal and octal: HTCondor's versions differ
    number = numbers.whole(text, 19)
    value: int | float = float(text) if number is None else number
    return UNKNOWN if isinstance(value, float) and not math.isfinite(value) else value


def name_of(name: str) -> Value:
    """Return the value of a bare name: a constant, or UNDEFINED."""
    constants: dict[str, Value] = {"true": True, "false": False, "undefined": UNDEFINED, "error": ERROR}
    # There is no ad at submit time to look up an attribute of the job or the machine in.
    return constants.get(name, UNDEFINED)


def choose(condition: Value, yes: Value, no: Value) -> Value:
    """Return the value of `condition ? yes : no`."""
    if isinstance(condition, bool | int | float):
        return yes if condition else no
    return condition if condition in (UNDEFINED, UNKNOWN) else ERROR


def apply_unary(sign: str, value: Value) -> Value:
    """Return the result of a unary operator."""
    if isinstance(value, Special):
        return value
    if sign == "!":
        return ERROR if isinstance(value, str) else not value
    if isinstance(value, bool | str) or (sign == "~" and isinstance(value, float)):
        return ERROR if isinstance(value, str) else UNKNOWN
    return {"+": value, "-": -value}[sign] if sign != "~" else ~int(value)


def apply_binary(operator: str, left: Value, right: Value) -> Value:  # noqa: PLR0911 - one return per kind of operator
    """Return the result of a binary operator."""
    if operator in ("&&", "||"):
        decisive = operator == "||"
        truths = [bool(side) if isinstance(side, bool | int | float) else side for side in (left, right)]
        if any(side is decisive for side in truths):
            return decisive if truths[0] is decisive or truths[0] in (UNDEFINED, UNKNOWN) else _worst(truths)
        return (not decisive) if all(isinstance(side, bool) for side in truths) else _worst(truths)
    if operator in ("=?=", "is", "=!=", "isnt"):
        if UNKNOWN in (left, right):
            return UNKNOWN
        return (type(left) is type(right) and left == right) is (operator in ("=?=", "is"))
    for special in (UNKNOWN, ERROR, UNDEFINED):
        if special in (left, right):
            return special
    if isinstance(left, str) and isinstance(right, str) and operator in ("==", "!="):
        # Strings are compared case-insensitively (ClassAd reference, operators).
        return (left.lower() == right.lower()) is (operator == "==")
    if isinstance(left, str) or isinstance(right, str):
        return UNKNOWN if isinstance(left, str) and isinstance(right, str) else ERROR
    if isinstance(left, bool | int | float) and isinstance(right, bool | int | float):
        return _numbers(operator, left, right)
    return UNKNOWN


def _worst(sides: list[bool | str | Special]) -> Value:
    return (
        UNKNOWN
        if UNKNOWN in sides
        else ERROR
        if ERROR in sides or any(isinstance(s, str) for s in sides)
        else UNDEFINED
    )


def _numbers(operator: str, left: float, right: float) -> Value:
    compare = {"==": left == right, "!=": left != right, "<": left < right, "<=": left <= right, ">": left > right}
    compare[">="] = left >= right
    if operator in compare:
        return compare[operator]
    if operator in ("+", "-", "*"):
        result = {"+": left + right, "-": left - right, "*": left * right}[operator]
        return result if math.isfinite(result) else UNKNOWN
    if operator in ("/", "%"):
        if not right:
            return ERROR
        if isinstance(left, int) and isinstance(right, int):
            quotient = abs(left) // abs(right) * (1 if (left < 0) == (right < 0) else -1)
            return quotient if operator == "/" else left - quotient * right
        return left / right if operator == "/" else UNKNOWN
    return UNKNOWN
