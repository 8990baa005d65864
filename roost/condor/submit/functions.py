"""The functions of the submit language: $INT, $REAL, $STRING, $EVAL, $CHOICE, $SUBSTR, $BASENAME, $DIRNAME, $F. Pure.

What each gives follows condor_submit 24.12's own answers. The first argument is the name of a macro; what is not one is
itself the text, but for $CHOICE, whose index must be a number, and $SUBSTR, which then has nothing to cut.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Sequence

from roost.condor.submit.expression import ExpressionError, evaluate
from roost.condor.submit.values import Special

#: Returns the value of a macro in text, or None when there is no such macro.
Lookup = Callable[[str], str | None]

NAMES = frozenset({"CHOICE", "SUBSTR", "INT", "REAL", "STRING", "EVAL", "BASENAME", "DIRNAME"})
_PATH = re.compile(r"F[pnxdqabfwuPNXDQABFWU]*")
_FORMATS = {
    "INT": re.compile(r"[^%]*%[-+ 0#]*\d{0,3}[dixX][^%]*"),
    "REAL": re.compile(r"[^%]*%[-+ 0#]*\d{0,3}(?:\.\d{1,3})?[fFeEgG][^%]*"),
    "STRING": re.compile(r"[^%]*%s[^%]*"),
}


class AbortError(ValueError):
    """condor_submit ends at this function with an error (or a crash)."""


def is_path_function(name: str) -> bool:
    """Return whether a name is $F with its letters."""
    return _PATH.fullmatch(name) is not None


def result(  # noqa: PLR0911 - one return per function
    name: str, words: Sequence[str], value: str, lookup: Lookup
) -> str | None:
    """Return what a function gives for its arguments `words`, the first of which stands for `value`.

    None is what only submission decides, or what roost does not work out. Raises `AbortError`.
    """
    if name == "CHOICE":
        return _choice(words, value, lookup)
    if name == "SUBSTR":
        return _part(words, value if lookup(words[0]) is not None else "")
    if name in ("INT", "REAL"):
        return _number(name, value, words)
    if name == "EVAL":
        return _evaluated(value)
    if name == "STRING":
        text = value[1:-1] if len(value) > 1 and value[0] == value[-1] == '"' else value
        return text if len(words) == 1 else _formatted(name, words[1], text)
    if name == "BASENAME":
        base = posixpath.basename(value)
        return base.removesuffix(words[1]) if len(words) > 1 and base != words[1] else base
    if name == "DIRNAME":
        return value[: value.rfind("/") + 1]
    return _file_name(name[1:], value)


def _choice(words: Sequence[str], value: str, lookup: Lookup) -> str | None:
    if len(words) < 2:
        raise AbortError
    listed = lookup(words[1]) if len(words) == 2 else None
    choices = [*words[1:]] if listed is None else [word for word in re.split(r"[\s,]+", listed) if word]
    try:
        index = evaluate(value)
    except ExpressionError:
        raise AbortError from None
    if isinstance(index, bool) or not isinstance(index, int):
        return None
    if not 0 <= index < len(choices):
        if listed is not None:
            return None
        raise AbortError
    return choices[index]


def _part(words: Sequence[str], value: str) -> str | None:
    numbers = [int(word) for word in words[1:3] if re.fullmatch(r"-?\d{1,6}", word)]
    if len(numbers) != len(words) - 1 or not numbers:
        return None
    text = value[numbers[0] :]
    return text if len(numbers) == 1 else text[: numbers[1]]


def _number(name: str, text: str, words: Sequence[str]) -> str | None:
    try:
        value = evaluate(text)
    except ExpressionError:
        raise AbortError from None
    if isinstance(value, str) or (isinstance(value, Special) and value is not Special.UNKNOWN):
        raise AbortError
    if isinstance(value, bool | Special):
        return None
    if len(words) > 1:
        return _formatted(name, words[1], int(value) if name == "INT" else float(value))
    return str(int(value)) if name == "INT" or isinstance(value, int) else f"{value:g}"


def _formatted(name: str, form: str, value: str | float) -> str | None:
    try:
        return form % value if _FORMATS[name].fullmatch(form) else None
    except (TypeError, ValueError):
        return None


def _evaluated(text: str) -> str | None:
    try:
        value = evaluate(text)
    except ExpressionError:
        return None
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else None


def _file_name(options: str, path: str) -> str | None:
    """Return the parts of a path that $F's letters name (p directory, n name, x extension; q quotes)."""
    flags = options.lower()
    if set(flags) - set("pnxq"):
        return None
    unquoted = path[1:-1] if len(path) > 1 and path[0] == path[-1] and path[0] in "\"'" else path
    directory, base = posixpath.split(unquoted)
    stem, extension = posixpath.splitext(base)
    wanted = set(flags) - {"q"}
    made = unquoted if not wanted else ""
    if "p" in wanted:
        made += f"{directory}/" if directory not in ("", "/") else directory
    made += (stem if "n" in wanted else "") + (extension if "x" in wanted else "")
    return f'"{made}"' if "q" in flags else made
