"""Values as ClassAd text in a submit description."""

from __future__ import annotations

import re


def literal(value: str | bool | int | float) -> str:
    r"""Return a value as condor_submit reads it after `+Name =`: text becomes a quoted string.

    In a string only the double quote is escaped: in this syntax a backslash stands for itself, also before `\"`.
    A whole macro such as $(Process) is kept; any other $ becomes $(DOLLAR), which condor_submit expands to $.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    text = re.sub(r"\$(?!\([A-Za-z_][A-Za-z0-9_]*\))", "$(DOLLAR)", value)
    return '"' + text.replace('"', '\\"') + '"'
