"""Whole numbers in untrusted text.

`str.isdigit` accepts digits that `int` refuses (a superscript two); `int` accepts digits of every script and refuses
more than 4300 of them. roost accepts only ASCII digits, and a limited number of them.
"""

from __future__ import annotations

import re

_DIGITS = re.compile("[0-9]+")


def whole(text: str, digits: int = 18) -> int | None:
    """Return the number in a text of at most `digits` ASCII digits (18 fit 64 bits); None for any other text."""
    return int(text) if len(text) <= digits and _DIGITS.fullmatch(text) else None
