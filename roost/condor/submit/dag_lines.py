"""The lines of a DAG file and their words, as DAGMan splits them. Pure.

This follows condor_utils/dag_parser.cpp (DagLexer): blanks separate words, quotes group them and are removed, a
backslash escapes the next character of a quoted text, and `key = "value"` is one word.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from roost.condor.submit.source_text import BLANKS
from roost.errors import Location

_DELIMITERS = " \t"


#: A pair whose value is in double quotes.
_QUOTED = re.compile(r'[^=]*=\s*"')


class WordError(Exception):
    """A line cannot be split into words; `where` is the location of the error. Never reaches users."""

    def __init__(self, where: Location, what: str) -> None:
        super().__init__(what)
        self.where = where


@dataclass(frozen=True, slots=True)
class Word:
    """A word of a line without its quotes, and its location; `quoted`: it is `key="value"`, in double quotes."""

    text: str
    where: Location
    quoted: bool = False

    def says(self, *keywords: str) -> bool:
        """Return whether it is one of these keywords, ignoring case."""
        return self.text.upper() in keywords


@dataclass(frozen=True, slots=True)
class Line:
    """A line of a DAG file that is neither blank nor a comment: its text without outer blanks, and its location."""

    text: str
    where: Location
    continued: bool = False

    def words(self) -> list[Word]:
        """Return the words; raises `WordError`."""
        return list(_words(self.text, self.where))


def lines(text: str, file: str) -> Iterator[Line]:
    """Yield the lines of a DAG file; a backslash at the end of a line continues it, as in DAGMan before HTCondor 25."""
    parts: list[str] = []
    first: Location | None = None
    for number, physical in enumerate(text.split("\n"), 1):
        stripped = physical.strip(BLANKS)
        if not parts and (not stripped or stripped.startswith(("#", "//"))):
            continue
        column = len(physical) - len(physical.lstrip(BLANKS)) + 1
        first = first or Location(file, number, column)
        if stripped.endswith("\\"):
            parts.append(stripped[:-1])
            continue
        whole = "".join([*parts, stripped])
        if whole.strip(BLANKS):
            yield Line(whole, first, bool(parts))
        parts, first = [], None
    if first is not None and "".join(parts).strip(BLANKS):
        yield Line("".join(parts), first, True)


def _words(text: str, start: Location) -> Iterator[Word]:
    position = 0
    while position < len(text):
        while position < len(text) and text[position] in _DELIMITERS:
            position += 1
        if position == len(text):
            return
        where = Location(start.file, start.line, start.column + position)
        word, after = _word(text, position, where)
        yield Word(word, where, bool(_QUOTED.match(text, position)))
        position = after


def _word(text: str, position: int, where: Location) -> tuple[str, int]:
    """Return the word that begins at `position`, and the position after it."""
    found: list[str] = []
    pair = complete = False
    while position < len(text):
        char = text[position]
        if char in _DELIMITERS:
            # `key = value`: blanks around the sign are not part of a word.
            if complete or not (pair or text[position:].lstrip(_DELIMITERS).startswith("=")):
                break
        elif char == "=" and not pair:
            pair = True
            found.append(char)
        else:
            complete = pair
            if char in "\"'":
                char, position = _quoted(text, position, where)
            found.append(char)
        position += 1
    if pair and not complete:
        raise WordError(where, "there is no value after =")
    return "".join(found), position


def _quoted(text: str, start: int, where: Location) -> tuple[str, int]:
    """Return the text in the quotes that open at `start`, and the position of the closing quote."""
    found: list[str] = []
    position = start + 1
    while position < len(text) and text[position] != text[start]:
        if text[position] == "\\" and position + 1 < len(text):
            position += 1
        found.append(text[position])
        position += 1
    if position == len(text):
        raise WordError(where, f"the quote {text[start]} is not closed")
    return "".join(found), position
