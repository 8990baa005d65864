"""The tasks `build`, `lock` and `repro`: the image, its exact inputs, whether it is reproducible."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost.cli import terminal
from roost.cli.verb import finish, verb
from roost.errors import UsageError


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `build`."""

    force: bool = False
    explain: bool = False
    locked: bool = False
    set: list[str] | None = None


@verb(
    positional=("name",),
    help={
        "force": "build even when nothing has changed",
        "explain": "show what would be built again, and which input changed; build nothing",
        "locked": "build exactly what NAME.lock lists; fail, and name what is gone, if that is not possible",
    },
)
def build(_context: object, name: str, flags: Flags, json: bool = False) -> None:
    """Build the image NAME (a recipe of recipes/, or the path of one) and its submit files."""
    from roost.cli import show, show_build
    from roost.pipeline import build as story

    if flags.explain:
        if flags.force:
            raise UsageError("--explain and --force cannot be used together")
        from roost.pipeline import rebuild

        with terminal.events() as events:
            outlook = rebuild.explain(name, events=events, sets=flags.set or [], from_lock=flags.locked)
        terminal.write_json(outlook.to_json()) if json else terminal.write_text(show_build.outlook(outlook))
        return
    with terminal.events() as events:
        result = story.build(name, events=events, force=flags.force, sets=flags.set or [], from_lock=flags.locked)
    terminal.write_json({"ok": True, **result.to_json()}) if json else terminal.write_text(show.build(result))


@verb(
    positional=("name",),
    help={"update": "lock what there is now, and show what changed: package, old, new"},
)
def lock(_context: object, name: str, update: bool = False, set: list[str] | None = None, json: bool = False) -> None:
    """Write NAME.lock beside the recipe: packages, sources and kernel that `inv build NAME --locked` will take."""
    from roost.cli import show_build
    from roost.pipeline import lock as story

    with terminal.events() as events:
        result = story.lock(name, events=events, update=update, sets=set or [])
    terminal.write_json(result.to_json()) if json else terminal.write_text(show_build.lock(result))


@verb(
    positional=("name",),
    help={"keep": "leave both builds in this new directory"},
)
def repro(_context: object, name: str, keep: str = "", set: list[str] | None = None, json: bool = False) -> None:
    """Build NAME twice, as another user, elsewhere and without a cache, and compare every file; show what differs."""
    from roost.cli import show_build
    from roost.pipeline import repro as story

    with terminal.events() as events:
        result = story.repro(name, events=events, sets=set or [], keep=Path(keep) if keep else None)
    terminal.write_json(result.to_json()) if json else terminal.write_text(show_build.repro(result))
    finish(result.identical)
