"""The time that the caller sets for all files that are made (SOURCE_DATE_EPOCH, reproducible-builds.org)."""

from __future__ import annotations

import os

from roost.host import numbers

VARIABLE = "SOURCE_DATE_EPOCH"


def given() -> int | None:
    """Return the seconds since 1970 that the environment gives; None where it gives none, or no number."""
    return numbers.whole(os.environ.get(VARIABLE, ""))
