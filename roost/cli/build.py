"""The task `build`: the image and its submit files."""

from __future__ import annotations

from roost.cli import terminal
from roost.cli.verb import verb


@verb(positional=("name",), help={"force": "build even when nothing has changed"})
def build(_context: object, name: str, force: bool = False, set: list[str] | None = None, json: bool = False) -> None:
    """Build the image NAME (a recipe of recipes/, or the path of one) and its submit files."""
    from roost.cli import show
    from roost.pipeline import build as story

    with terminal.events() as events:
        result = story.build(name, events=events, force=force, sets=set or [])
    terminal.write_json(result.to_json()) if json else terminal.write_text(show.build(result))
