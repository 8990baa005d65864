"""Lines that are longer than a terminal is wide, broken between words; what is meant to be copied stays whole.

A terminal breaks a long line in the middle of a word. Here a line goes on below where its last column begins, or a
little in; nothing is broken that is one word, a submit command or a line of a log.
"""

from __future__ import annotations

import os
import re
from typing import TextIO

#: Columns below which nothing is broken, and those that the last column of a table needs to be worth its place.
NARROWEST, ROOM = 30, 24
#: A word; what stands in back quotes is copied as one.
_WORD = re.compile(r"`[^`\n]+`\S*|\S+")
#: A gap between two columns of a table.
_GAP = re.compile(r"(?<=\S) {2,}(?=\S)")
#: A submit command, in a difference too, and a line of a log that is quoted: as they are.
_WHOLE = re.compile(r"\s*(?:[-+] )?[\w.+]+ *= |\s*\| ")


def columns(stream: TextIO) -> int | None:
    """Return how many columns a stream's terminal has; None where it is not one, and in the log of a CI."""
    if os.environ.get("CI", "") not in ("", "0", "false"):
        return None
    try:
        return os.get_terminal_size(stream.fileno()).columns if stream.isatty() else None
    except (OSError, ValueError, AttributeError):
        return None


def folded(text: str, columns: int | None) -> str:
    """Return a text whose lines fit into so many columns, as far as its words do; None: as it is."""
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
        # No room beside the first column: the second one goes below.
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
    """Break a line between words; what follows begins with `below`. Blanks inside a line stay as they are."""
    lines: list[str] = []
    start = end = 0
    for match in _WORD.finditer(line):
        head = below if lines else ""
        if end > start and len(head) + match.end() - start > columns and line[start:end].strip():
            lines.append(head + line[start:end])
            start = match.start()
        end = match.end()
    return [*lines, (below if lines else "") + line[start:]]
