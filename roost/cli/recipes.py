"""The tasks about recipes: `recipes`, `check`, `schema`."""

from __future__ import annotations

from pathlib import Path

from roost.cli import terminal
from roost.cli.verb import at_most_one, finish, verb
from roost.errors import UsageError


@verb(rest="names")
def recipes(_context: object, names: list[str] | None = None, json: bool = False) -> None:
    """List the recipes, or those at a path or in a directory, and the state of each image: built, booted, stale."""
    from roost.cli import show
    from roost.pipeline import recipes as story

    result = story.recipes(names or [])
    terminal.write_json(result) if json else terminal.write_text(show.recipes(result))
    # In the whole project a broken recipe is a state; one named in the call is an error.
    finish(not names or not any(one["state"] == "broken" for one in result["recipes"]), 2)


@verb(rest="names", help={"resolved": "print the final recipe of NAME, each value with the line that it came from"})
def check(
    _context: object,
    names: list[str] | None = None,
    resolved: bool = False,
    set: list[str] | None = None,
    json: bool = False,
) -> None:
    """Check a recipe, or all: the recipe, its kernel and its submit descriptions. Builds nothing."""
    from roost.cli import show
    from roost.pipeline import check as story

    if resolved:
        name = at_most_one(names or [])
        if name is None:
            raise UsageError("which recipe?", hint="inv check --resolved NAME")
        values = story.resolved(name, set or [])
        terminal.write_json(values) if json else terminal.write_text(show.resolved(values))
        return
    result = story.check(names or [], set or [])
    terminal.write_json(result) if json else terminal.write_text(show.check(result))
    finish(result["ok"], 2)


@verb(help={"output": "write to this file instead of standard output"})
def schema(_context: object, output: str = "", json: bool = False) -> None:
    """Print the JSON schema of recipes, for editors; the shipped one is recipes/schema.json."""
    from roost.host import output as writing
    from roost.recipe import editor

    text = editor.text()
    if output:
        writing.write(Path(output), text.encode())
    if json:
        terminal.write_json({"schema": editor.schema(), "output": output or None})
    elif not output:
        terminal.write_text(text.rstrip("\n"), whole=True)
