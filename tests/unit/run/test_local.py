"""How many guests this machine takes, and for how long."""

from __future__ import annotations

import pytest

from roost.run.local import at_once

GiB = 1 << 30


@pytest.mark.parametrize(
    ("wanted", "each", "available", "guests"),
    [(2, GiB, 16 * GiB, 2), (8, GiB, 4 * GiB, 3), (8, 4 * GiB, 2 * GiB, 1), (4, GiB, 0, 1), (1, GiB, 64 * GiB, 1)],
)
def test_memory_bounds_the_guests(wanted: int, each: int, available: int, guests: int) -> None:
    assert at_once(wanted, each, available) == guests
