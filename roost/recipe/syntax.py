"""YAML syntax errors in the terms of the recipe's author."""

from __future__ import annotations

from ruamel.yaml.error import MarkedYAMLError
from ruamel.yaml.reader import ReaderError

from roost.errors import Location, Problem
from roost.recipe.words import shown

REPLACE = "!replace"

_INDENT = "check the indentation"
#: Part of ruamel.yaml's message → the message for the author, and a hint. The first one that is found counts.
_SYNTAX = (
    ("directive", "a line that begins with '%'", "a recipe has no YAML directives: remove it"),
    ("incompatible YAML document", "another version of YAML than 1", "remove the line %YAML"),
    ("duplicate tag handle", "a tag that is declared twice", f"the only tag is {REPLACE}"),
    ("sequence entries are not allowed", "a '- ' is not allowed here", "begin the list on a line of its own"),
    ("mapping keys are not allowed", "a '? ' is not allowed here", "quote the text"),
    ("'<document start>'", "this line is indented less than the first one", _INDENT),
    ("document separator", "a quote that is not closed before '---' or '...'", "close it, or indent the line"),
    (
        "decimal numbers",
        "an escape whose hexadecimal digits are missing",
        "use single quotes, or double the backslash",
    ),
    ("indentation indicator in", "an indentation of 0 after '|' or '>'", "write a number from 1 to 9, or none"),
    ("indentation indicators", "a text after '|' or '>'", "begin it on the next line, or quote it"),
    ("comment or a line break", "a text after '|' or '>'", "begin it on the next line, or quote it"),
    ("'\\t'", "a tab is not allowed here", "indent with blanks"),
    ("mapping values are not allowed", "a ':' is not allowed here", "check the indentation, or quote the text"),
    (
        "expected <block end>",
        "this line fits neither the list or mapping before it nor its parent",
        "check the indentation",
    ),
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
    ("expected the node content", "a value is missing before '{found}'", "write the value, or quote the text"),
)


def problem(error: Exception, text: str, file: str) -> Problem:
    """Return an exception of ruamel.yaml as a problem in a file's text."""
    if isinstance(error, ReaderError):
        before = text[: error.position]
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        return Problem("a control character", Location(file, line, column), "a recipe may contain only printable text")
    if not isinstance(error, MarkedYAMLError):
        # Python has no character beyond U+10FFFF.
        escape = r"a \U escape for a character that does not exist"
        return Problem(escape if isinstance(error, OverflowError) else "not valid YAML", Location(file, 1, 1))
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
            found = message.rpartition("found ")[2].strip("'\"")
            return Problem(what.replace("{found}", shown(found)), where, hint)
    if " an tag" in message or " a tag" in message:
        return Problem("a '!' that begins no tag", where, "quote the text")
    return Problem("not valid YAML", where)
