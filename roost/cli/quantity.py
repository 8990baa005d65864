"""Sizes and times given as flags: an invalid value is reported with the flag's name."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from roost.errors import UsageError

T = TypeVar("T")


def size(flag: str, text: str) -> int | None:
    """Return the bytes of a flag such as `--cap`; None when it is not given. Raises `UsageError`."""
    from roost.recipe.quantities import parse_size

    return _parsed(flag, text, parse_size)


def duration(flag: str, text: str) -> float | None:
    """Return the seconds of a flag such as `--timeout`; None when it is not given. Raises `UsageError`."""
    from roost.recipe.quantities import parse_duration

    return _parsed(flag, text, parse_duration)


def _parsed(flag: str, text: str, parse: Callable[[object], T]) -> T | None:
    try:
        return parse(text) if text else None
    except ValueError as error:
        raise UsageError(f"{flag}: {error}") from error
