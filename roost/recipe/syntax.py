"""YAML syntax errors in the terms of the recipe's author."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from roost.errors import Location, Problem
from roost.recipe.words import shown

REPLACE = "!replace"

#: Part of ruamel.yaml's message → the message for the author, and a hint.
_SYNTAX = (
    ("'\\t'", "a tab is not allowed here", "indent with blanks"),
    ("mapping values are not allowed", "a ':' is not allowed here", "check the indentation, or quote the text"),
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
    ("special characters are not allowed", "a control character", "a recipe may contain only printable text"),
)


def problem(error: Exception, text: str, file: str) -> Problem:
    """Return an exception of ruamel.yaml as a problem in a file's text."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Problem("a control character", Location(file, line, column), "a recipe may contain only printable text")
    if not isinstance(error, MarkedYAMLError):
        return Problem("not valid YAML", Location(file, 1, 1), str(error)[:80] or None)
    message = f"{error.context or ''} {error.problem or ''}".strip()
    mark = error.problem_mark or error.context_mark
    where = Location(file, mark.line + 1, mark.column + 1) if mark is not None else Location(file, 1, 1)
    if (
        mark is not None
        and "cannot start any token" in message
        and text.splitlines()[mark.line][mark.column :][:1] == "\t"
    ):
        return Problem("a tab is not allowed here", where, "indent with blanks")
    for piece, what, hint in _SYNTAX:
        if piece in message:
            return Problem(what, where, hint)
    return Problem("not YAML", where, shown(message, 160) or None)
