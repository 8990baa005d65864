"""Text that strangers may have written, made safe for a terminal.

A file's name, a recipe's value, a guest's console, a field of a package: each may hold escape sequences that retitle,
recolour or answer for the terminal, or characters that turn the direction of what follows. Those are shown as escapes.
"""

from __future__ import annotations

import re
import unicodedata

#: Control, format (bidirectional overrides, zero-width), surrogate (bytes that are not UTF-8), line and paragraph
#: separators: Unicode's general categories, UAX #44.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # control sequences
    rb"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # strings: titles, links, device control
    rb"|[ -/]*[0-~]?)"
)


def _escaped(char: str) -> str:
    code = ord(char)
    # surrogateescape: the byte of a file's name that is no UTF-8.
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def safe(text: str, keep: str = "\n\t") -> str:
    """Return text with each character that a terminal would act on as an escape, but for those of `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if char not in keep and unicodedata.category(char) in _UNSAFE else char for char in text
    )


def one_line(text: str) -> str:
    """Return text that cannot begin a line of its own, or move within one."""
    return safe(text, "")


def clean(line: bytes) -> str:
    """Return one line as text that is safe to show: no escape sequences, no control characters."""
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", line)
    text = line.decode("utf-8", "replace")
    if text.isprintable():
        return text.rstrip()
    return "".join(
        char if char.isprintable() else " " if char == "\t" else "\N{REPLACEMENT CHARACTER}" for char in text
    ).rstrip()
