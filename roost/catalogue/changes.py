"""The differences between two versions of an image: packages, kernel, published files, and the recipe. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Literal

from roost.catalogue.model import Version
from roost.recipe.quantities import format_size

Kind = Literal["kernel", "package", "file", "recipe"]
#: The kinds in display order.
KINDS: tuple[Kind, ...] = ("kernel", "package", "file", "recipe")


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: `old` None means added, `new` None removed."""

    kind: Kind
    what: str
    old: str | None
    new: str | None

    @property
    def sign(self) -> str:
        """+ if added, − if removed, ± if changed."""
        return "+" if self.old is None else "−" if self.new is None else "±"


@dataclass(frozen=True, slots=True)
class Changes:
    """All differences between two versions; `fetched` is the bytes to transfer for a user who has the older one."""

    older: str
    newer: str
    items: tuple[Change, ...]
    fetched: int

    def of(self, kind: Kind) -> tuple[Change, ...]:
        """Return the changes of one kind."""
        return tuple(one for one in self.items if one.kind == kind)

    @property
    def summary(self) -> str:
        """A summary of the changes in a few words."""
        packages = self.of("package")
        parts = [f"{sign}{count}" for sign in "+−±" if (count := sum(one.sign == sign for one in packages))]
        found = [f"packages {' '.join(parts)}"] if parts else []
        found += [f"{kind} changed" for kind in ("kernel", "recipe") if self.of(kind)]
        if files := len(self.of("file")):
            found.append(f"{files} file{'s' if files > 1 else ''}")
        return ", ".join(found) or "the same content"


def between(older: Version, newer: Version) -> Changes:
    """Return the differences from `older` to `newer`."""
    had = {file.sha256 for file in older.images}
    return Changes(
        older.version,
        newer.version,
        tuple(_all(older, newer)),
        sum(file.size for file in newer.images if file.sha256 not in had),
    )


def _all(older: Version, newer: Version) -> Iterator[Change]:
    tables: dict[Kind, Callable[[Version], Mapping[str, str]]] = {
        "kernel": lambda one: {"kernel": one.kernel} if one.kernel else {},
        "package": _packages,
        "file": _files,
        "recipe": lambda one: {**one.settings, **{f"content of {key}": value for key, value in one.sources.items()}},
    }
    for kind in KINDS:
        before, after = tables[kind](older), tables[kind](newer)
        for what in sorted({*before, *after}):
            old, new = before.get(what), after.get(what)
            if old != new:
                yield Change(kind, what, old, new)


def _packages(version: Version) -> dict[str, str]:
    """Return package → version; packages with the same name (a foreign architecture) get distinct keys."""
    names = [one.name for one in version.packages]
    found: dict[str, str] = {}
    for one in version.packages:
        key = f"{one.name}:{one.architecture}" if names.count(one.name) > 1 and one.architecture else one.name
        found[key] = f"{found[key]}, {one.version}" if key in found else one.version
    return found


def _files(version: Version) -> dict[str, str]:
    return {file.name: f"{format_size(file.size)}, sha256 {file.sha256[:12]}" for file in version.images}
