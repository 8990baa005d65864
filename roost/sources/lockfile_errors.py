"""Errors in a lock, each with its own message, line and column."""

from __future__ import annotations

import contextlib
import json
import re
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from pydantic import BaseModel, ValidationError

from roost.errors import Location, Problem
from roost.recipe.messages import sentence, written_path

#: How to get a valid lock.
HINT = "`inv lock NAME --update` writes it again"
#: Maximum number of errors reported.
MOST = 20

Path = tuple[str | int, ...]

#: Part of tomllib's message → the words for the author.
_TOML = (
    ("Invalid statement", "a line that is neither `key = value` nor [table]"),
    ("Expected newline or end", "something follows the value on its line"),
    ("Invalid value", "a value is missing or not valid; text goes in quotes"),
    ("Expected '='", "a key without `= value`"),
    ("initial character for a key", "a key is missing or not valid"),
    ("Expected ']]'", "a '[[' that is not closed by ']]'"),
    ("Expected ']'", "a '[' that is not closed"),
    ("Unclosed array", "a '[' that is not closed, or items without a ',' between them"),
    ("Unclosed inline table", "a '{' that is not closed, or entries without a ',' between them"),
    ("Unterminated string", "a quote that is not closed"),
    # The parser looks for the end of a string in the rest of the text.
    ("Expected \"'", "a quote that is not closed"),
    ("Expected '\"", "a quote that is not closed"),
    ("Unescaped '\\' in a string", "an unknown escape in double quotes"),
    ("Invalid hex value", "an escape whose hexadecimal digits are missing"),
    ("Unicode scalar value", "an escape for a character that does not exist"),
    ("character '\\n'", "a quote that is not closed"),
    ("Illegal character", "a control character"),
    ("Found invalid character", "a control character"),
    ("Invalid date", "a date or a time that does not exist"),
    ("Duplicate inline table key", "a key that is given twice"),
    ("Cannot declare", "a table that is given twice"),
    ("Cannot overwrite", "a key that is given twice"),
    ("Cannot ", "a table that cannot be added to"),
)


def not_toml(error: tomllib.TOMLDecodeError, text: str, file: str) -> Problem:
    """Return the problem of a text that is not TOML, with its place."""
    at = re.search(r"\(at line (\d+), column (\d+)\)", str(error))
    last = len(text.rstrip().splitlines()) or 1
    where = Location(file, int(at[1]), int(at[2])) if at else Location(file, last)
    words = next((words for piece, words in _TOML if piece in str(error)), "")
    return Problem(f"not TOML: {words}" if words else "not TOML", where, HINT)


def of_model(error: ValidationError, root: type[BaseModel], text: str, file: str) -> list[Problem]:
    """Return the first problems of a lock that is TOML but does not match `root`."""
    return [_problem(one, root, text, file) for one in error.errors(include_url=False)[:MOST]]


def _problem(error: Mapping[str, Any], root: type[BaseModel], text: str, file: str) -> Problem:
    what = sentence(error, root).replace("a mapping (lines of `key: value`)", "a table")
    return Problem(what, _place(written_path(error), text, file), HINT)


def _place(path: Path, text: str, file: str) -> Location:
    """Return the location of a path: exact if the layout of the file allows it, else the file alone."""
    lines = text.split("\n")
    number = 0
    key = ""
    for number, key in _steps(path, lines):  # noqa: B007 - the last one counts
        pass
    if not number:
        return Location(file)
    found = re.search(rf"(?:^|[\s{{,])({_key(key)})\s*=", lines[number - 1]) if key else None
    return Location(
        file, number, found.start(1) + 1 if found else len(lines[number - 1]) - len(lines[number - 1].lstrip()) + 1
    )


def _steps(path: Path, lines: Sequence[str]) -> Iterator[tuple[int, str]]:
    """Yield line and key of each part of a path that is found, in order."""
    if not path:
        return
    top = str(path[0])
    begin = next(
        (at for at, line in enumerate(lines, 1) if re.match(rf"\s*(?:{_key(top)}\s*=|\[{_key(top)}\])", line)), 0
    )
    if not begin:
        return
    yield begin, top
    if len(path) < 2:
        return
    if isinstance(path[1], int):
        # `inv lock` writes one entry a line; in a file of another layout, report the key of the list instead.
        at = begin + path[1] + 1
        if at <= len(lines) and _is_entry(lines[at - 1]):
            yield at, str(path[2]) if len(path) > 2 else ""
    elif lines[begin - 1].lstrip().startswith("["):
        entry = re.compile(rf"\s*{_key(path[1])}\s*=")
        at = next((at for at, line in enumerate(lines[begin:], begin + 1) if entry.match(line)), 0)
        if at:
            yield at, path[1]


def _is_entry(line: str) -> bool:
    with contextlib.suppress(tomllib.TOMLDecodeError, RecursionError):
        return bool(line.strip()) and "entry" in tomllib.loads(f"entry = {line.strip().rstrip(',')}")
    return False


def _key(name: str) -> str:
    """Return a regular expression for a key, bare or in quotes."""
    return f"(?:{re.escape(name)}|{re.escape(json.dumps(name))})"
