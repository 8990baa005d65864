"""The tasks that examine images without booting them: `packages`, `diff`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from roost.cli import terminal
from roost.cli.catalogue import published_to
from roost.cli.verb import finish, verb
from roost.errors import UsageError

if TYPE_CHECKING:
    from roost.catalogue.changes import Change
    from roost.catalogue.difference import Difference, Size

#: Maximum lines of files shown on a terminal; --json has all of them.
SHOWN = 200


@verb(
    positional=("name",),
    help={"from_": "the catalogue of a published image: a directory or URL; without it NAME is the build here"},
)
def packages(_context: object, name: str, from_: str = "", json: bool = False) -> None:
    """List the packages in an image: of the build, or of a published version."""
    from roost.cli.show import table
    from roost.pipeline import installed

    result = installed.packages(name, _catalogue([name], from_))
    if json:
        terminal.write_json(result)
        return
    rows = [[one["name"], one["version"], one["architecture"]] for one in result["packages"]]
    terminal.write_text(table(rows) if rows else f"{result['name']}: the image lists no packages")


@verb(
    rest="names",
    help={
        "from_": "the catalogue of published versions: a directory or URL",
        "no-files": "compare only packages, kernel, sizes, submit lines and recipe keys; read no disk",
    },
)
def diff(_context: object, names: list[str], from_: str = "", no_files: bool = False, json: bool = False) -> None:
    """Show what differs from A to B: packages, files, kernel, sizes, submit lines, recipe keys.

    A and B are builds (a recipe's name or path, or the directory of a build), or published versions: NAME@VERSION, and
    with --from also NAME, which is its latest. A alone is compared with what its recipe says now, and a published A
    with the build here.

    As diff(1) does, it exits 0 when nothing differs and 1 when something does.
    """
    from roost.pipeline import diff as story

    with terminal.events() as events:
        found = story.diff(names, events=events, url=_catalogue(names, from_), files=not no_files)
    terminal.write_json(found.to_json()) if json else terminal.write_text(_shown(found))
    finish(found.same)


def _catalogue(names: list[str], given: str) -> str:
    """Return the catalogue: as given, or that of this project if a version is named."""
    from roost.pipeline import sides

    if given or not any(sides.is_published(name) for name in names):
        return given
    try:
        return published_to()
    except UsageError as error:
        raise UsageError(error.problem.what, hint="--from URL") from error


def _shown(found: Difference) -> str:
    lines = [f"{found.a.label} -> {found.b.label}"]
    if found.kernel is not None:
        lines += ["", f"kernel: {found.kernel.old} -> {found.kernel.new}"]
    lines += _changes("packages", found.packages) + _files(found) + _sizes(found.sizes)
    for text in (found.submit or {}).values():
        lines += ["", "submit description:", *(f"  {line}" for line in text.splitlines())]
    lines += _changes("recipe", found.recipe)
    if found.same:
        lines += ["", "nothing differs" if not found.notes else "no differences in what was compared"]
    lines += [""] * bool(found.notes) + [f"note: {note}" for note in found.notes]
    return "\n".join(lines)


def _changes(title: str, changes: tuple[Change, ...] | None) -> list[str]:
    if not changes:
        return []
    from roost.cli.show import indented, table

    signs = {"−": "-", "±": "~"}
    rows = []
    for one in changes:
        values = [value for value in (one.old, one.new) if value is not None]
        rows.append([signs.get(one.sign, one.sign), one.what, " -> ".join(values)])
    return ["", f"{title}:", indented(table(rows))]


def _files(found: Difference) -> list[str]:
    if not found.files:
        return []
    from roost.cli.show import indented, table
    from roost.host.safetext import one_line

    rows = []
    for one in found.files[:SHOWN]:
        sign = {"added": "+", "removed": "-"}.get(one.what[0], "~")
        words = [] if sign != "~" else [_word(what, one.old, one.new) for what in one.what]
        path = f"{one.place.rstrip('/')}{one.path}" if one.place.startswith("/") else f"{one.place}: {one.path}"
        rows.append([sign, one_line(path), ", ".join(words)])
    left = len(found.files) - SHOWN + found.more
    more = [f"  and {left} more files (--json lists them)"] if left > 0 else []
    return ["", "files:", indented(table(rows)), *more]


def _word(what: str, old: Any, new: Any) -> str:
    from roost.recipe.quantities import format_size

    if what == "mode":
        return f"mode {old.mode:04o} -> {new.mode:04o}"
    if what in ("owner", "type"):
        return f"{what} {getattr(old, what)} -> {getattr(new, what)}"
    if what == "content" and old.size != new.size:
        return f"content ({format_size(old.size)} -> {format_size(new.size)})"
    return what


def _sizes(sizes: Mapping[str, tuple[Size | None, Size | None]] | None) -> list[str]:
    if not sizes:
        return []
    from roost.cli.show import indented, table
    from roost.recipe.quantities import format_size

    rows = [["", "the guest sees", "transfer"]]
    for name, (old, new) in sizes.items():
        both = [one for one in (old, new) if one is not None]
        virtual = " -> ".join(dict.fromkeys(format_size(one.virtual) for one in both))
        transfer = " -> ".join(dict.fromkeys(format_size(one.transfer) for one in both))
        sign = "+ " if old is None else "- " if new is None else "~ "
        rows.append([f"{sign}{name}", virtual, transfer])
    return ["", "sizes:", indented(table(rows))]
