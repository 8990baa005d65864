"""Sizes and times as written in recipes: `512MiB`, `10G`, `4h`, `90s`."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import BeforeValidator, PlainSerializer

_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*([KMGT]i?B?|B)?", re.IGNORECASE)
#: The maximum size, 1 PiB: HTCondor and the tools use signed 64-bit byte counts.
MOST_BYTES = 1 << 50
#: The maximum time: ten years. Ten times that, as under emulation, still fits the clocks of the kernel and of Python.
MOST_SECONDS = 3650 * 86400
_UNIT = {"": 1, "b": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TIME = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|sec|min|m|h|d)?", re.IGNORECASE)
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "sec": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0, "d": 86400.0}


def parse_size(value: object) -> int:
    """Return a size in bytes; units are powers of 1024, as in HTCondor. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError("a size is a number with a unit, such as 512MiB")
    if isinstance(value, int):
        return _bounded_size(value, value)
    match = _SIZE.fullmatch(value.strip())
    if not match:
        raise ValueError(f"'{value}' is not a size: write a number and a unit, such as 512MiB or 10GiB")
    size = float(match[1]) * _UNIT[(match[2] or "")[:1].lower()]
    if size > MOST_BYTES:
        return _bounded_size(MOST_BYTES + 1, value)
    if size != int(size):
        raise ValueError(f"'{value}' is not a whole number of bytes")
    return int(size)


def _bounded_size(size: int, written: object) -> int:
    if size > MOST_BYTES:
        raise ValueError(f"'{written!s:.40}' is too large: a size has at most {format_size(MOST_BYTES)}")
    return size


def format_size(size: int) -> str:
    """Return a byte count in readable form: 1.2 GiB; exact multiples stay exact."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if size >= 1 << shift:
            return f"{size / (1 << shift):.1f}".removesuffix(".0") + f" {unit}"
    return f"{size} B"


def parse_duration(value: object) -> float:
    """Return a time in seconds. Raises ValueError."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        raise ValueError("a time is a number with a unit, such as 90s or 4h")
    if isinstance(value, int | float):
        return _bounded_time(value, value)
    match = _TIME.fullmatch(value.strip())
    if not match:
        raise ValueError(f"'{value}' is not a time: write a number and a unit, such as 90s, 2min, 4h or 30d")
    return _bounded_time(float(match[1]) * _SECONDS[(match[2] or "").lower()], value)


def _bounded_time(seconds: float, written: object) -> float:
    if not seconds <= MOST_SECONDS:
        raise ValueError(f"'{written!s:.40}' is too long: a time has at most {MOST_SECONDS // 86400} days")
    return float(seconds)


Size = Annotated[int, BeforeValidator(parse_size), PlainSerializer(lambda size: size)]
Duration = Annotated[float, BeforeValidator(parse_duration)]
