"""What a recipe holds, in words for its author: values shown safely, kinds named, near names found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping

from roost.host import safetext


def shown(text: str, length: int = 60) -> str:
    """Return `text` safe to print on one line: control characters escaped, long text cut."""
    safe = safetext.escaped(text[: length + 1])
    return safe if len(safe) <= length else safe[: length - 1] + "…"


def kind(value: object) -> str:
    """Return what a value is: `the text 'x'`, `the number 3`, `a list` …"""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text '{shown(value)}'" if value else "empty text"
    return "a mapping" if isinstance(value, Mapping) else "a list"


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Return `a, b, c`, cut when there are many."""
    known = list(names)
    return ", ".join(known[:limit]) + (" …" if len(known) > limit else "")


def near(name: str, known: Iterable[str]) -> str | None:
    """Return the known name that `name` was probably meant to be, or None; never the name itself."""
    close = difflib.get_close_matches(name[:100].lower(), [one for one in known if one != name], 1, 0.6)
    return close[0] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a hint: the near name, else all names, else None when there are none."""
    names = list(known)
    close = near(name, names)
    if close is not None:
        return f"did you mean {close}?"
    return f"known: {listed(names)}" if names else None
