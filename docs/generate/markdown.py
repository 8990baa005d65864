"""Text as Markdown shows it: what would be markup is itself."""

from __future__ import annotations


def row(*cells: str) -> str:
    """Return a row of a table: a bar would end the cell, in code too."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def head(*cells: str) -> list[str]:
    """Return the two lines that a table begins with."""
    return [row(*cells), f"|{'---|' * len(cells)}"]


def prose(text: str) -> str:
    """Return a text of the code as Markdown; its own code spans stay."""
    parts = text.split("`")
    for number in range(0, len(parts), 2):
        parts[number] = parts[number].replace("<", "&lt;").replace("*", "\\*")
    return "`".join(parts)
