"""The versions of an image to remove: those beyond a number or an age. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime

from roost.errors import UsageError
from roost.publish.inventory import Inventory, Listed
from roost.recipe.words import near


@dataclass(frozen=True, slots=True)
class Rules:
    """How many versions of an image are kept, which are always kept, and the age in seconds beyond which others go.

    With neither a number nor an age, no version is removed, only the remains of killed publications.
    """

    keep: int | None = None
    named: tuple[tuple[str, str], ...] = ()
    age: float | None = None


def check_named(rules: Rules, stock: Inventory) -> None:
    """Raise `UsageError` for a version to keep that does not exist."""
    have = [f"{one.name}@{one.version}" for one in stock.listed]
    for name, version in rules.named:
        wanted = f"{name}@{version}"
        if wanted not in have:
            close = near(wanted, have)
            hint = f"did you mean {close}?" if close else f"inv catalogue --from {stock.target.url}"
            raise UsageError(f"--keep {wanted}: {stock.target.url} has no such version", hint=hint)


def choose(rules: Rules, stock: Inventory, name: str, now: float) -> Iterator[tuple[Listed, bool, str]]:
    """Yield each trusted version of an image: whether it is removed, and why."""
    versions = stock.of(name)
    for one in versions:
        # An untested version must not displace one that passed.
        alike = [other for other in versions if other.untested == one.untested]
        newer = alike.index(one)
        why = ""
        if one.version == stock.latest.get(name):
            why = "the latest"
        elif one is versions[0]:
            why = "the newest"
        elif (name, one.version) in rules.named:
            why = "named by --keep"
        elif rules.keep is None and rules.age is None:
            why = "no --keep N and no --older-than"
        elif rules.keep is not None and newer < rules.keep:
            why = f"one of the newest {rules.keep}{' untested' if one.untested else ''}"
        elif newer == 0:
            why = f"the newest {'untested' if one.untested else 'that passed'}"
        elif rules.age is not None and _age(one, now) <= rules.age:
            why = "not old enough"
        if why:
            yield one, False, why
            continue
        kind = "untested" if one.untested else "that passed"
        old = f", {_age(one, now) / 86400:.0f} days old" if rules.age is not None else ""
        yield one, True, f"{newer} newer {kind}{old}"


def _age(one: Listed, now: float) -> float:
    try:
        assert one.release is not None
        return now - datetime.fromisoformat(one.release.created).timestamp()
    except ValueError:
        return 0.0
