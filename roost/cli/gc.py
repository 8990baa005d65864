"""The task `gc`, which removes unused files from the cache or from a catalogue."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from roost.cli import quantity, terminal
from roost.cli.verb import at_most_one, finish, verb
from roost.errors import UsageError
from roost.host.numbers import whole
from roost.recipe.words import counted

if TYPE_CHECKING:
    from roost.publish.retention import Rules
    from roost.store.gc_report import Report


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `gc`."""

    delete: bool = False
    keep: list[str] | None = None
    older_than: str = ""
    cap: str = ""
    take_over: bool = False


@verb(
    rest="url",
    help={
        "url": "a catalogue, or one image of it; without it the cache and build/",
        "delete": "remove it; without this: a dry run",
        "keep": "of a catalogue: how many versions of each image stay; NAME@VERSION: that one too; may be repeated",
        "older-than": "cache: what was not used for this long, such as 30d (the default); catalogue: what is older",
        "cap": "the most that the cache may hold, such as 20GiB (the default); the least recently used goes first",
        "take-over": "of a catalogue: also what publications on other hosts left, which must have ended",
    },
)
def gc(_context: object, flags: Flags, url: list[str] | None = None, json: bool = False) -> None:
    """Remove what nothing needs: from the cache and build/, or from the catalogue URL. Dry run unless --delete."""
    place = at_most_one(url or [])
    if place is None and (flags.keep or flags.take_over):
        raise UsageError("--keep and --take-over are for a catalogue", hint="inv gc URL --keep 3")
    if place is not None and flags.cap:
        raise UsageError("--cap is for the cache", hint="of a catalogue: inv gc URL --keep 3")
    with terminal.events() as events:
        if place is None:
            from roost.host import paths
            from roost.store import gc as cache

            age, cap = quantity.duration("--older-than", flags.older_than), quantity.size("--cap", flags.cap)
            rules = cache.Rules(cache.AGE if age is None else age, cache.CAP if cap is None else cap)
            build = paths.project_root() / "build"
            report = cache.collect(paths.cache_root(), build, rules, events, delete=flags.delete)
        else:
            from roost.publish import gc as catalogue

            kept = _rules(flags.keep or [], flags.older_than)
            report = catalogue.collect(place, kept, events, delete=flags.delete, take_over=flags.take_over)
    terminal.write_json(report.to_json()) if json else terminal.write_text(_shown(report))
    finish(report.ok)


def _rules(keep: Sequence[str], older_than: str) -> Rules:
    from roost.publish import layout
    from roost.publish.retention import Rules

    numbers = [word for word in keep if whole(word, 9) is not None]
    named = []
    for word in keep:
        if word in numbers:
            continue
        name, at, version = word.partition("@")
        if not at or not layout.is_name(name) or not layout.is_version(version):
            raise UsageError(f"--keep {word} is neither a number nor NAME@VERSION", hint="--keep 3 --keep sim@2026.11")
        named.append((name, version))
    if len(numbers) > 1:
        raise UsageError(f"--keep {' --keep '.join(numbers)}: several numbers of versions", hint="give one number")
    count = int(numbers[0]) if numbers else None
    if count == 0:
        raise UsageError("--keep 0: the latest version always stays", hint="--keep 1, or more")
    return Rules(count, tuple(named), quantity.duration("--older-than", older_than))


def _shown(report: Report) -> str:
    from roost.cli.show import indented, table
    from roost.recipe.quantities import format_size

    lines = [report.place, ""]
    if report.items:
        rows = [[item.state, format_size(item.bytes), item.what, item.problem or item.why] for item in report.items]
        lines += [indented(table(rows)), ""]
    if report.kept:
        rows = [
            [format_size(one["bytes"]), one["what"], one.get("why") or counted(one["entries"], "entry", "entries")]
            for one in report.kept
        ]
        lines += ["what stays:", indented(table(rows)), ""]
    lines += [f"note: {note}" for note in report.notes]
    freed = format_size(report.bytes())
    if not report.items:
        lines.append("nothing to remove")
    elif report.deleted:
        lines.append(f"removed {freed}" if report.ok else f"removed {freed}; some of it could not be removed")
    else:
        lines.append(f"{freed} would be removed; dry run: --delete removes it")
    return "\n".join(lines)
