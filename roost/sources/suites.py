"""Unknown suites, detected without a network, by the list of the package distro-info-data."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path

from roost.errors import Problem
from roost.host import files as host_files
from roost.recipe.loader import Loaded
from roost.recipe.words import near, shown

LISTS = (Path("/usr/share/distro-info/debian.csv"), Path("/usr/share/distro-info/ubuntu.csv"))
#: Names in Debian's archive besides its code names.
ALIASES = ("stable", "testing", "unstable", "sid", "oldstable", "oldoldstable", "experimental", "rc-buggy")
_RECENT = ("bookworm", "trixie", "noble")
_PARTS = ("-updates", "-backports", "-backports-sloppy", "-security", "-proposed", "-proposed-updates")


def code_names() -> list[str] | None:
    """Return the code names of Debian's and Ubuntu's suites, newest first; None if the list is not installed."""
    found: list[str] = []
    for path in LISTS:
        try:
            rows = list(csv.DictReader(host_files.read_text(path, 1 << 20).splitlines()))
        except (OSError, ValueError, csv.Error):
            return None
        found += [row["series"] for row in reversed(rows) if row.get("series")]
    return [*found, *ALIASES] if found else None


def problems(loaded: Loaded, key: tuple[str, ...], suite: str) -> Iterator[Problem]:
    """Yield a problem at `key` for a suite that neither Debian nor Ubuntu has, as far as this host knows."""
    names = code_names()
    if names is None:
        return
    base = next((suite.removesuffix(part) for part in _PARTS if suite.endswith(part)), suite)
    if base not in names:
        close = near(base, names)
        hint = f"did you mean {close}?" if close else f"Such as {', '.join(_RECENT)}."
        yield loaded.problem(key, f"there is no suite '{shown(suite)}'", f"{hint} Another archive needs `mirror`")
