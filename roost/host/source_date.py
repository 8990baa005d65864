"""The time that the caller sets for all generated files (SOURCE_DATE_EPOCH, reproducible-builds.org)."""

from __future__ import annotations

import os

from roost.host import numbers

VARIABLE = "SOURCE_DATE_EPOCH"


def given() -> int | None:
    """Return SOURCE_DATE_EPOCH in seconds since 1970; None where it is not set or not a number."""
    return numbers.whole(os.environ.get(VARIABLE, ""))
