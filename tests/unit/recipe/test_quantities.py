"""Sizes and times as recipes write them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.recipe.quantities import format_size, parse_duration, parse_size


@pytest.mark.parametrize(
    ("text", "size"),
    [("512MiB", 512 << 20), ("10G", 10 << 30), ("1.5 GiB", 3 << 29), ("64k", 65536), ("7", 7), ("7B", 7), (42, 42)],
)
def test_sizes(text: object, size: int) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize("text", ["", "MiB", "-1", "1.0000001K", "12 parsecs", True, None, [1], 1.5])
def test_no_sizes(text: object) -> None:
    with pytest.raises(ValueError, match=r"size|bytes"):
        parse_size(text)


@pytest.mark.parametrize(
    ("text", "seconds"), [("4h", 14400), ("90s", 90), ("2min", 120), ("1.5m", 90), (3, 3), ("1d", 86400)]
)
def test_times(text: object, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["", "h", "-1s", "1 fortnight", True, None])
def test_no_times(text: object) -> None:
    with pytest.raises(ValueError, match="time"):
        parse_duration(text)


@given(st.integers(min_value=0, max_value=1023), st.sampled_from(["B", "KiB", "MiB", "GiB", "TiB"]))
def test_a_whole_size_is_shown_as_it_is_written(number: int, unit: str) -> None:
    size = parse_size(f"{number}{unit}")
    assert parse_size(format_size(size)) == size


@given(st.text())
def test_any_text_is_a_size_or_a_value_error(text: str) -> None:
    try:
        assert parse_size(text) >= 0
    except ValueError as error:
        assert str(error)


@pytest.mark.parametrize("text", ["\u0665GiB", "\u00b2GiB", "99999999999999999999TiB", f"{'9' * 400}", 1 << 60])
def test_other_digits_and_sizes_without_bound_are_refused(text: object) -> None:
    with pytest.raises(ValueError, match=r"is not a size|is too large"):
        parse_size(text)


@pytest.mark.parametrize("text", ["\u0665h", "4000d", "9" * 400, 1e30, float("inf"), float("nan")])
def test_other_digits_and_times_without_bound_are_refused(text: object) -> None:
    """A time goes into deadlines and into ClassAd expressions: all of them can hold ten years."""
    with pytest.raises(ValueError, match=r"is not a time|is too long"):
        parse_duration(text)
