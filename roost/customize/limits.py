"""Limits of a recipe's `run` commands on the build machine, read from the environment."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import Any

from roost.errors import UsageError
from roost.host import numbers
from roost.host.confinement import Limits
from roost.recipe.quantities import parse_duration, parse_size


def _count(text: str) -> int:
    number = numbers.whole(text, 9)
    if number is None:
        raise ValueError(f"'{text}' is not a number")
    return number


#: The variable, the field that it sets, its parser, the minimum.
VARIABLES: Mapping[str, tuple[str, Callable[[str], Any], float]] = {
    "ROOST_RUN_PROCESSES": ("processes", _count, 16),
    "ROOST_RUN_MEMORY": ("memory", parse_size, 16 << 20),
    "ROOST_RUN_FILE_SIZE": ("file_size", parse_size, 1 << 20),
    "ROOST_RUN_FREE": ("free", parse_size, 0),
    "ROOST_RUN_TIME": ("seconds", parse_duration, 1),
}


def of_run_commands(environment: Mapping[str, str] = os.environ) -> Limits:
    """Return the limits; raise `UsageError` for a variable with an invalid quantity."""
    found: dict[str, Any] = {}
    for variable, (name, read, least) in VARIABLES.items():
        text = environment.get(variable, "")
        if not text:
            continue
        try:
            found[name] = read(text)
        except ValueError as error:
            raise UsageError(f"{variable}: {error}") from error
        if found[name] < least:
            raise UsageError(f"{variable}={text} is too little for any command", hint=f"at least {least:g}")
    return Limits(**found)
