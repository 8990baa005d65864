"""Whole numbers in foreign texts."""

from __future__ import annotations

import pytest

from roost.host import numbers


@pytest.mark.parametrize(("text", "number"), [("0", 0), ("42", 42), ("007", 7), ("9" * 18, 10**18 - 1)])
def test_a_number(text: str, number: int) -> None:
    assert numbers.whole(text) == number


@pytest.mark.parametrize(
    "text", ["", "-1", "+1", " 1", "1\n", "1_0", "1.0", "\u00b2", "\u0665", "\u2460", "9" * 19, "9" * 5000]
)
def test_not_a_number(text: str) -> None:
    """`int` raises ValueError for some of these for which `str.isdigit` is true, and reads some as numbers."""
    assert numbers.whole(text) is None
