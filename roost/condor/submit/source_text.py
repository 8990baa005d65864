"""Text that keeps the location of its characters through slicing, joining and macro expansion.

A value of a submit description is put together from continuation lines, macros and included files. `Traced`
carries the location of each character, so that a finding points at what was typed.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass

from roost.errors import Location

#: C's isspace in the C locale: Python's str.strip would also remove Unicode's blanks.
BLANKS = " \t\n\v\f\r"


def is_quoted(text: str) -> bool:
    """Return whether a text is enclosed in double quotes."""
    return len(text) > 1 and text[0] == text[-1] == '"'


@dataclass(frozen=True, slots=True)
class Span:
    """From offset `start` on, text is located at `where`; `fixed` text was computed, so all of it is located there."""

    start: int
    where: Location
    fixed: bool = False


@dataclass(frozen=True, slots=True)
class Traced:
    """A string with the locations of its characters; `unknown` if a part of it is decided only at submit time."""

    text: str
    spans: tuple[Span, ...]
    unknown: bool = False

    @classmethod
    def of(cls, text: str, where: Location, *, fixed: bool = False, unknown: bool = False) -> Traced:
        """Return `text`, on one line, that begins at `where`."""
        return cls(text, (Span(0, where, fixed),), unknown)

    @classmethod
    def join(cls, parts: Iterable[Traced]) -> Traced:
        """Return the concatenation of the parts; at least one part is needed for a location."""
        listed = list(parts)
        spans: list[Span] = []
        offset = 0
        for part in listed:
            spans += [Span(offset + span.start, span.where, span.fixed) for span in part.spans if part.text]
            offset += len(part.text)
        if not spans and listed:
            spans = list(listed[0].spans[:1])
        return cls("".join(part.text for part in listed), tuple(spans), any(part.unknown for part in listed))

    def at(self, offset: int = 0) -> Location:
        """Return the location of the character at `offset` (or of the end of the text)."""
        if not self.spans:
            return Location("", 0, 0)
        span = self.spans[max(0, bisect_right(self.spans, offset, key=lambda span: span.start) - 1)]
        if span.fixed:
            return span.where
        return Location(span.where.file, span.where.line, span.where.column + max(0, offset - span.start))

    def cut(self, start: int, end: int | None = None) -> Traced:
        """Return the slice from `start` to `end` (default: the end), with its locations."""
        stop = len(self.text) if end is None else min(end, len(self.text))
        first = max(0, bisect_right(self.spans, start, key=lambda span: span.start) - 1)
        last = bisect_right(self.spans, max(start, stop - 1), key=lambda span: span.start)
        spans = [Span(0, self.at(start), self.spans[first].fixed)] if self.spans else []
        spans += [Span(span.start - start, span.where, span.fixed) for span in self.spans[first + 1 : last]]
        return Traced(self.text[start:stop], tuple(spans), self.unknown)

    def strip(self) -> Traced:
        """Return the text without C's blanks at both ends."""
        left = len(self.text) - len(self.text.lstrip(BLANKS))
        return self.cut(left, max(left, len(self.text.rstrip(BLANKS))))


def logical_lines(text: str, file: str, *, blank: bool = False) -> Iterable[Traced]:
    """Split a file into logical lines as HTCondor's getline does (condor_utils/config.cpp, getline_implementation).

    A line that ends in a backslash continues on the next one, whose leading blanks are dropped. A comment inside
    such a sequence counts as blank, and continues only if it ends in a backslash itself; a comment that begins
    the sequence never continues. Blank lines are omitted unless `blank` is set; comments are kept.
    """
    parts: list[Traced] = []
    begins = True
    for number, physical in enumerate(text.removesuffix("\n").split("\n") if text else (), 1):
        stripped = physical.rstrip(BLANKS)
        column = len(stripped) - len(stripped.lstrip(BLANKS)) + 1
        line = stripped[column - 1 :]
        if line.startswith("#") and not begins:
            # HTCondor keeps the comment's last character, so that its backslash still continues the line.
            column, line = column + len(line) - 1, line[-1]
        goes_on = line.endswith("\\") and not (line.startswith("#") and begins)
        parts.append(Traced.of(line[:-1] if goes_on else line, Location(file, number, column)))
        begins = begins and not parts[-1].text
        if not goes_on:
            yield from _whole(parts, blank)
            parts, begins = [], True
    yield from _whole(parts, blank)


def _whole(parts: list[Traced], blank: bool) -> Iterable[Traced]:
    if parts and (blank or any(part.text.strip(BLANKS) for part in parts)):
        yield Traced.join(parts)
