"""Numbers in the environment that a build uses, validated before it begins: a wrong one is a usage error."""

from __future__ import annotations

import os
import re

from roost.customize import limits
from roost.errors import UsageError
from roost.host import source_date
from roost.sources import bounds


def check() -> None:
    """Raise `UsageError` for the first variable with an invalid quantity."""
    limits.of_run_commands()
    bounds.limit(0)
    bounds.most_names()
    epoch = os.environ.get(source_date.VARIABLE, "")
    # Ten digits reach the year 2286; ext4, FAT and cpio end earlier.
    if epoch and not re.fullmatch(r"[0-9]{1,10}", epoch):
        raise UsageError(
            f"{source_date.VARIABLE} is not a number of seconds", hint="such as 1767225600, or leave it out"
        )
