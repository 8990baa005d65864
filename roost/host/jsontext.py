"""Untrusted JSON: limited in depth, with finite numbers, and one kind of error.

Python's parser follows nesting by recursion and ends in `RecursionError`, accepts NaN and Infinity, and turns 1e999
into an infinity that no later `int()` survives. Here all of these are a `ValueError`, as is any invalid JSON, in words
for the user of a file.
"""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from roost.host import files

#: Maximum levels of lists and objects; the JSON of roost and of the tools that it calls has fewer than ten.
DEPTH = 64


#: Part of a message of Python's parser → the words for the user.
_WORDS = (
    ("Expecting value", "a value is missing"),
    ("Expecting property name", "a key in double quotes is missing"),
    ("Expecting ':'", "a ':' is missing after a key"),
    ("Expecting ','", "a ',' or a closing bracket is missing"),
    ("trailing comma", "a ',' before a closing bracket"),
    ("Extra data", "something follows the value"),
    ("Unterminated string", "a quote that is not closed"),
    ("control character", "a control character in text"),
    ("escape", "an unknown escape"),
)


def _constant(word: str) -> Any:
    raise ValueError(f"not JSON: {word} is not a number there")


def _whole(digits: str) -> int:
    try:
        return int(digits)
    except ValueError:
        # Python converts at most 4,300 digits.
        raise ValueError("a number that is too large") from None


def _number(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number that is too large")
    return number


def _require_shallow(value: Any) -> None:
    level = [value]
    for _ in range(DEPTH + 1):
        level = [
            child
            for one in level
            if isinstance(one, dict | list)
            for child in (one.values() if isinstance(one, dict) else one)
        ]
        if not level:
            return
    raise ValueError(f"nested more than {DEPTH} deep")


def loads(data: bytes | str) -> Any:
    """Return a JSON text's value; raise `ValueError` when it is not JSON or is nested more than `DEPTH` deep."""
    try:
        value = json.loads(data, parse_constant=_constant, parse_float=_number, parse_int=_whole)
    except RecursionError:
        raise ValueError(f"nested more than {DEPTH} deep") from None
    except json.JSONDecodeError as error:
        words = next((words for piece, words in _WORDS if piece in error.msg), "a mistake")
        raise ValueError(f"not JSON: line {error.lineno}, column {error.colno}: {words}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"not JSON: byte {error.start} is not UTF-8") from None
    _require_shallow(value)
    return value


def load_object(data: bytes | str) -> dict[str, Any]:
    """Return a JSON object; raise `ValueError` when the text is anything else."""
    value = loads(data)
    if not isinstance(value, dict):
        raise ValueError("not a JSON object")
    return value


def read(path: Path, limit: int = files.TEXT) -> Any:
    """Return the value in a JSON file; raise `OSError` (see `files.read_bytes`) or `ValueError`."""
    return loads(files.read_bytes(path, limit))
