"""Values of a recipe in messages: shown safely, with their types, and with similar names found."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence

from roost.host import safetext


def shown(text: str, length: int = 60) -> str:
    """Return `text` safe to print on one line: control characters escaped, long text truncated."""
    safe = safetext.escaped(text[: length + 1])
    return safe if len(safe) <= length else safe[: length - 1] + "…"


def kind(value: object) -> str:
    """Return a description of a value: `the text 'x'`, `the number 3`, `a list` …"""
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return f"the number {value}"
    if isinstance(value, str):
        return f"the text '{shown(value)}'" if value else "empty text"
    if isinstance(value, Mapping):
        return "a mapping"
    # TOML has dates, YAML 1.2 does not.
    return "a list" if isinstance(value, list | tuple) else "a date or a time"


def listed(names: Iterable[str], limit: int = 12) -> str:
    """Return `a, b, c`, truncated when there are many."""
    known = list(names)
    return ", ".join(known[:limit]) + (" …" if len(known) > limit else "")


def some(names: Sequence[str], most: int) -> str:
    """Return `a, b and 3 more`: at most `most` names, and how many are left out."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def counted(number: int, thing: str, things: str | None = None) -> str:
    """Return `1 job` or `2 jobs`; `things` is the plural unless it just adds an s."""
    return f"{number} {thing if number == 1 else things or f'{thing}s'}"


def near(name: str, known: Iterable[str], alike: float = 0.6) -> str | None:
    """Return the known name that `name` was probably meant to be, or None; never the name itself.

    `alike` is the minimum similarity, from 0 to 1 (difflib's ratio).
    """
    close = difflib.get_close_matches(name[:100].lower(), [one for one in known if one != name], 1, alike)
    return close[0] if close else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """Return a hint: the similar name, else all names, else None when there are none."""
    names = list(known)
    close = near(name, names)
    if close is not None:
        return f"did you mean {close}?"
    return f"known: {listed(names)}" if names else None
