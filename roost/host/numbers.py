"""Whole numbers in untrusted texts.

`str.isdigit` is true of digits that `int` refuses (a superscript two), `int` takes digits of every script, and refuses
more than 4300 of them. What roost reads as a number has ASCII digits, and not too many.
"""

from __future__ import annotations

import re

_DIGITS = re.compile("[0-9]+")


def whole(text: str, digits: int = 18) -> int | None:
    """Return the number that a text of at most `digits` ASCII digits says (18 fit 64 bits); None for any other text."""
    return int(text) if len(text) <= digits and _DIGITS.fullmatch(text) else None
