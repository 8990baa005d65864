"""The task `doctor`: checks of this host."""

from __future__ import annotations

from roost.cli import terminal
from roost.cli.verb import finish, verb


@verb()
def doctor(_context: object, json: bool = False) -> None:
    """Show what this host can do, and how to fix what it lacks."""
    from roost.cli import show
    from roost.pipeline import doctor as story

    with terminal.events() as events:
        result = story.doctor(events)
    terminal.write_json(result) if json else terminal.write_text(show.doctor(result))
    finish(result["ok"], 3)
