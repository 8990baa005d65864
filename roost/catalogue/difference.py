"""All differences between two images, as shown by `inv diff`: those of `changes`, plus files and submit lines. Pure.

A section that could not be compared is None, with the reason in `notes`; it never counts as equal.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from roost.catalogue import changes
from roost.catalogue.changes import Change
from roost.catalogue.model import Version
from roost.host.safetext import one_line
from roost.verify.contents import Contents, Entry

#: The maximum number of file differences listed, and of lines listed per description.
LISTED, LINES = 10_000, 1000


@dataclass(frozen=True, slots=True)
class Size:
    """The sizes of a file in bytes: as seen by the guest, as transferred by HTCondor, as allocated on the host."""

    virtual: int
    transfer: int
    allocated: int | None = None

    def to_json(self) -> dict[str, int | None]:
        """Return it as JSON."""
        return {"virtual": self.virtual, "transfer": self.transfer, "allocated": self.allocated}


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two images: `kind` is build, published or recipe; missing parts are None."""

    label: str
    kind: str
    version: Version
    has_packages: bool = True
    sizes: Mapping[str, Size] | None = None
    digests: Mapping[str, str] = field(default_factory=dict)
    submit: Mapping[str, str] | None = None

    def to_json(self) -> dict[str, Any]:
        """Return the identity of the side as JSON."""
        return {"name": self.version.name, "version": self.version.version or None, "kind": self.kind}


@dataclass(frozen=True, slots=True)
class FileChange:
    """A path that differs: `what` is added, removed, or which of type, content, mode, owner, xattrs differ."""

    place: str
    path: str
    what: tuple[str, ...]
    old: Entry | None
    new: Entry | None

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON; names are escaped as for a terminal."""
        return {
            "place": one_line(self.place),
            "path": one_line(self.path),
            "what": list(self.what),
            "old": _entry(self.old),
            "new": _entry(self.new),
        }


def _entry(entry: Entry | None) -> dict[str, Any] | None:
    if entry is None:
        return None
    shown = one_line(entry.content)
    return {"type": entry.type, "mode": f"{entry.mode:04o}", "owner": entry.owner, "size": entry.size, "content": shown}


@dataclass(frozen=True, slots=True)
class Difference:
    """The differences from `a` to `b`; None: not compared. `more` is the number of differing files not listed."""

    a: Side
    b: Side
    packages: tuple[Change, ...] | None
    kernel: Change | None
    files: tuple[FileChange, ...] | None
    more: int
    sizes: Mapping[str, tuple[Size | None, Size | None]] | None
    submit: Mapping[str, str] | None
    recipe: tuple[Change, ...] | None
    notes: tuple[str, ...]

    @property
    def same(self) -> bool:
        """Whether everything that was compared is equal."""
        return not (self.packages or self.kernel or self.files or self.sizes or self.submit or self.recipe)

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of `inv diff --json`."""
        packages = self.packages
        return {
            "a": self.a.to_json(),
            "b": self.b.to_json(),
            "same": self.same,
            "packages": None
            if packages is None
            else {
                "added": [{"name": one.what, "version": one.new} for one in packages if one.old is None],
                "removed": [{"name": one.what, "version": one.old} for one in packages if one.new is None],
                "changed": [
                    {"name": one.what, "old": one.old, "new": one.new}
                    for one in packages
                    if one.old is not None and one.new is not None
                ],
            },
            "kernel": {"old": self.kernel.old, "new": self.kernel.new} if self.kernel else None,
            "files": None if self.files is None else [one.to_json() for one in self.files],
            "more_files": self.more,
            "sizes": None
            if self.sizes is None
            else [
                {"name": name, "old": old.to_json() if old else None, "new": new.to_json() if new else None}
                for name, (old, new) in self.sizes.items()
            ],
            "submit": None if self.submit is None else dict(self.submit),
            "recipe": None
            if self.recipe is None
            else [{"key": one.what, "old": one.old, "new": one.new} for one in self.recipe],
            "notes": list(self.notes),
        }


def between(a: Side, b: Side, trees: tuple[Contents, Contents] | None, notes: Sequence[str] = ()) -> Difference:
    """Return the differences from `a` to `b`; `trees` are the files of both, None if they were not read."""
    found = changes.between(a.version, b.version)
    remarks = list(notes)
    recipes = bool(a.version.settings and b.version.settings)
    if not recipes:
        remarks.append(
            "recipe keys are not compared: one of the two was built by an older roost, which did not record the recipe"
        )
    files = None if trees is None else list(_files(*trees))
    return Difference(
        a,
        b,
        found.of("package") if a.has_packages and b.has_packages else None,
        next(iter(found.of("kernel")), None) if a.version.kernel and b.version.kernel else None,
        None if files is None else tuple(files[:LISTED]),
        0 if files is None else max(0, len(files) - LISTED),
        None if a.sizes is None or b.sizes is None else dict(_sizes(a.sizes, b.sizes)),
        None if a.submit is None or b.submit is None else dict(_submit(a, b)),
        found.of("recipe") if recipes else None,
        tuple(remarks),
    )


def _files(old: Contents, new: Contents) -> Iterator[FileChange]:
    for place in sorted({*old, *new}):
        before, after = old.get(place, {}), new.get(place, {})
        for path in sorted({*before, *after}):
            was, now = before.get(path), after.get(path)
            if was != now:
                yield FileChange(place, path, _what(was, now), was, now)


def _what(was: Entry | None, now: Entry | None) -> tuple[str, ...]:
    if was is None or now is None:
        return ("added",) if was is None else ("removed",)
    if was.type != now.type:
        return ("type",)
    return tuple(name for name in ("content", "mode", "owner", "xattrs") if getattr(was, name) != getattr(now, name))


def _sizes(old: Mapping[str, Size], new: Mapping[str, Size]) -> Iterator[tuple[str, tuple[Size | None, Size | None]]]:
    for name in sorted({*old, *new}):
        was, now = old.get(name), new.get(name)
        # The allocated size depends on the host.
        if was is None or now is None or (was.virtual, was.transfer) != (now.virtual, now.transfer):
            yield name, (was, now)


def _submit(a: Side, b: Side) -> Iterator[tuple[str, str]]:
    old, new = a.submit or {}, b.submit or {}
    for name in sorted({*old, *new}):
        lines = difflib.unified_diff(
            _lines(old.get(name, "")), _lines(new.get(name, "")), f"{a.label}/{name}.sub", f"{b.label}/{name}.sub"
        )
        if text := "".join(line if line.endswith("\n") else f"{line}\n" for line in lines):
            yield name, text


def _lines(text: str) -> list[str]:
    return text.splitlines(keepends=True)[:LINES]
