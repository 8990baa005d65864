"""The differences between the recorded and the current parts of a key, in terms of the recipe. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

#: Parts of a key → the kind of their entries.
KINDS = {"code": "module", "tools": "tool", "recipe": "recipe", "files": "file", "kernel": "kernel"}
#: Keys that identify the entries of a recipe's list, whatever their order.
_NAMES = ("name", "path", "mount", "uri")


@dataclass(frozen=True, slots=True)
class Change:
    """One change: `kind` is package, file, tool, module, recipe, kernel, secret, stage or input.

    `what` names it; `old` and `new` are None if it did not exist before, or no longer does.
    """

    kind: str
    what: str
    old: Any = None
    new: Any = None

    def to_json(self) -> dict[str, Any]:
        """Return its JSON for `inv build --explain --json`."""
        return {"kind": self.kind, "what": self.what, "old": self.old, "new": self.new}


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Return the changes between the parts of one stage's key; `old` is from a manifest, and so untrusted."""
    found: list[Change] = []
    before, now = _inputs(old), _inputs(new)
    found += packages(_rows(before.pop("selection", [])), _rows(now.pop("selection", [])))
    for name in dict.fromkeys([*before, *now]):
        kind = KINDS.get(name, "input")
        start = "" if name in KINDS else name
        found += [Change(kind, *one) for one in _differences(before.get(name), now.get(name), start)]
    for name in ("code", "tools"):
        found += [Change(KINDS[name], *one) for one in _flat(_mapping(old.get(name)), _mapping(new.get(name)))]
    return found


def _inputs(parts: Mapping[str, Any]) -> dict[str, Any]:
    return dict(_mapping(parts.get("inputs")))


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _rows(value: Any) -> list[list[str]]:
    """Return the packages of a key: lists of four strings, ignoring anything else."""
    rows = value if isinstance(value, list) else []
    return [one for one in rows if isinstance(one, list) and all(isinstance(part, str) for part in one)]


def packages(old: Sequence[Sequence[str]], new: Sequence[Sequence[str]]) -> list[Change]:
    """Return added, removed and changed packages: [name, version, architecture, sha256] each."""
    before, now = ({f"{one[0]}:{one[2]}": one for one in some if len(one) == 4} for some in (old, new))
    found = []
    for key in sorted({*before, *now}):
        one, other = before.get(key), now.get(key)
        if one == other:
            continue
        versions = [entry[1] if entry is not None else None for entry in (one, other)]
        if one is not None and other is not None and one[1] == other[1]:
            versions = [f"{entry[1]} (sha256 {entry[3][:12]})" for entry in (one, other)]
        name = key.partition(":")[0]
        found.append(Change("package", name, *versions))
    return found


def _flat(old: Mapping[str, Any], new: Mapping[str, Any]) -> Iterator[tuple[str, Any, Any]]:
    for key in dict.fromkeys([*old, *new]):
        if old.get(key) != new.get(key):
            yield key, old.get(key), new.get(key)


def _differences(old: Any, new: Any, path: str) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, old, new) of the smallest values that differ."""
    if old == new:
        return
    if isinstance(old, Mapping) and isinstance(new, Mapping):
        for key in dict.fromkeys([*old, *new]):
            yield from _differences(old.get(key), new.get(key), f"{path}.{key}" if path else str(key))
    elif isinstance(old, Sequence) and isinstance(new, Sequence) and not isinstance(old, str):
        yield from _lists(list(old), list(new), path)
    else:
        yield path, old, new


def _lists(old: list[Any], new: list[Any], path: str) -> Iterator[tuple[str, Any, Any]]:
    before, now = _labelled(old), _labelled(new)
    if before is None or now is None:
        removed = [one for one in old if one not in new]
        came = [one for one in new if one not in old]
        yield from ((path, one, None) for one in removed)
        yield from ((path, None, one) for one in came)
        if not removed and not came:
            yield f"{path} (order)", old, new
        return
    for key in dict.fromkeys([*before, *now]):
        yield from _differences(before.get(key), now.get(key), f"{path}[{key}]")
    if before == now:
        yield f"{path} (order)", list(before), list(now)


def _labelled(entries: list[Any]) -> dict[str, Any] | None:
    """Return the entries of a list by their identifying key, or None if they have none."""
    found: dict[str, Any] = {}
    for entry in entries:
        if not isinstance(entry, Mapping):
            return None
        name = next((str(entry[key]) for key in _NAMES if isinstance(entry.get(key), str)), None)
        if name is None or name in found:
            return None
        found[name] = entry
    return found
