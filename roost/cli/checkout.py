"""The tasks of a checkout: `test`, `check-code`, `bench`."""

from __future__ import annotations

from roost.cli import terminal
from roost.cli.verb import finish, verb


@verb(rest="args", help={"unit": "only the quick, pure tests"})
def test(_context: object, args: list[str] | None = None, unit: bool = False) -> None:
    """Run ruff, mypy, the unit tests and the real builds and boots. Words after -- go to pytest."""
    from roost.cli import development

    finish(development.test(args or [], unit=unit))


@verb()
def check_code(_context: object) -> None:
    """Run ruff, mypy --strict and the other checks over the code, and build the documentation."""
    from roost.cli import development

    finish(development.check_code())


@verb()
def bench(_context: object, json: bool = False) -> None:
    """Measure what building costs: cold beside mmdebstrap alone, after a change to one file, with nothing changed."""
    from roost.cli import show
    from roost.pipeline import bench as measuring

    with terminal.events() as events:
        result = measuring.run(events)
    terminal.write_json(result) if json else terminal.write_text(show.bench(result))
