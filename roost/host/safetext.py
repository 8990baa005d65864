"""Untrusted text, made safe for a terminal and for line-based formats.

A file's name, a recipe's value, a guest's console, a field of a package may hold escape sequences that retitle,
recolour or answer for the terminal, or characters that reverse the direction of what follows. There is one function for
each purpose: `safe` for whole texts, `one_line` and `escaped` for a part of a line that stays recognizable, `printable`
where only readable text counts, `clean` for a line of a console.
"""

from __future__ import annotations

import re
import unicodedata

#: Control, format (bidirectional overrides, zero-width), surrogate (bytes that are not UTF-8), line and paragraph
#: separators: Unicode's general categories, UAX #44.
_UNSAFE = frozenset({"Cc", "Cf", "Cs", "Zl", "Zp"})

#: What XML 1.0 (section 2.2) does not allow in a document, escaped or not.
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")

_SURROGATE = re.compile("[\ud800-\udfff]")

_ESCAPE = re.compile(
    rb"\x1b(?:\[[0-?]*[ -/]*[@-~]"  # control sequences
    rb"|[\]PX^_][^\x07\x1b]*(?:\x07|\x1b\\|$)"  # strings: titles, links, device control
    rb"|[ -/]*[0-~]?)"
)


def _escaped(char: str) -> str:
    code = ord(char)
    # surrogateescape: a byte of a file name that is not valid UTF-8.
    if 0xDC80 <= code <= 0xDCFF:
        return f"\\x{code - 0xDC00:02x}"
    return char.encode("unicode_escape").decode("ascii")


def safe(text: str, keep: str = "\n\t") -> str:
    """Return text with each character that a terminal would act on escaped, except those of `keep`."""
    if text.isascii() and text.isprintable():
        return text
    return "".join(
        _escaped(char) if char not in keep and unicodedata.category(char) in _UNSAFE else char for char in text
    )


def is_unicode(text: str) -> bool:
    """Return whether a text can be encoded as UTF-8: a lone surrogate, which escapes in Python make, cannot."""
    return text.isascii() or _SURROGATE.search(text) is None


def one_line(text: str) -> str:
    """Return text that cannot start a new line, or move within one."""
    return safe(text, "")


def escaped(text: str) -> str:
    """Return text on one line with everything not plainly visible escaped, including blanks other than a space."""
    return "".join(char if char.isprintable() else _escaped(char) for char in text)


def printable(text: str, instead: str = "\N{REPLACEMENT CHARACTER}", keep: str = "") -> str:
    """Return text with `instead` for each unprintable character, except those of `keep`."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() or char in keep else instead for char in text)


def clean(line: bytes) -> str:
    """Return one line as text that is safe to show: no escape sequences, no control characters."""
    if b"\x1b" in line:
        line = _ESCAPE.sub(b"", line)
    return printable(line.decode("utf-8", "replace").replace("\t", " ")).rstrip()


def xml(text: str) -> str:
    """Return text that XML allows once escaped, with a replacement character for each that it does not."""
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
