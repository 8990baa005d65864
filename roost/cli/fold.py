"""Wraps lines that are wider than the terminal between words; text meant to be copied stays whole.

A terminal breaks a long line in the middle of a word. Here a line is continued below the start of its last column, or
slightly indented; single words, submit commands and lines of a log are not broken.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

#: Columns below which nothing is wrapped, and the minimum width for wrapping within a table's last column.
NARROWEST, ROOM = 30, 24
#: A word; text in back quotes counts as one.
_WORD = re.compile(r"`[^`\n]+`\S*|\S+")
#: A gap between two columns of a table.
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")
#: Submit commands, also in a difference, and quoted lines of a log are not wrapped.
_WHOLE = re.compile(r"\s*(?:[-+] )?[\w.+]+ *= |\s*\| ")


def columns(stream: TextIO) -> int | None:
    """Return the columns of a stream's terminal; None if it is not a terminal, and in the log of a CI."""
    if os.environ.get("CI", "") not in ("", "0", "false"):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else None
    except (OSError, ValueError, AttributeError):
        return None


def folded(text: str, columns: int | None) -> str:
    """Return a text wrapped to so many columns, as far as its words fit; None: unchanged."""
    if columns is None or columns < NARROWEST:
        return text
    return "\n".join("\n".join(_folded(line, columns)) for line in text.split("\n"))


def _folded(line: str, columns: int) -> list[str]:
    if len(line) <= columns or _WHOLE.match(line):
        return [line]
    indent = len(line) - len(line.lstrip())
    starts = [match.end() for match in _GAP.finditer(line)]
    if not starts:
        return _filled(line, " " * (indent + 2), columns)
    last = starts[-1]
    if columns - last >= ROOM:
        return _filled(line, " " * last, columns)
    below = " " * (indent + 4)
    if len(starts) == 1:
        # No room next to the first column: the second one goes below.
        return [line[:last].rstrip(), *_filled(below + line[last:], below, columns)]
    return _cells(line, [0, *starts], below, columns)


def _cells(line: str, starts: list[int], below: str, columns: int) -> list[str]:
    """Break a row of many columns between its cells."""
    lines = [""]
    for start, end in zip(starts, [*starts[1:], len(line)], strict=True):
        cell = line[start:end]
        if lines[-1].strip() and len(lines[-1]) + len(cell.rstrip()) > columns:
            lines.append(below)
        lines[-1] += cell
    return [part for one in lines for part in _filled(one.rstrip(), f"{below}  ", columns)]


def _filled(line: str, below: str, columns: int) -> list[str]:
    """Wrap a line between words; continuation lines begin with `below`. Blanks inside a line are kept."""
    lines: list[str] = []
    start = end = 0
    for match in _WORD.finditer(line):
        head = below if lines else ""
        if end > start and len(head) + match.end() - start > columns and line[start:end].strip():
            lines.append(head + line[start:end])
            start = match.start()
        end = match.end()
    return [*lines, (below if lines else "") + line[start:]]
