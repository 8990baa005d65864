"""The tasks of a checkout: `test`, `check-code`, `bench`."""

from __future__ import annotations

from pathlib import Path

from roost.cli import terminal
from roost.cli.verb import finish, verb


@verb(rest="args", help={"unit": "only the quick, pure tests"})
def test(_context: object, args: list[str] | None = None, unit: bool = False) -> None:
    """Run ruff, mypy, the unit tests and the real builds and boots. Arguments after -- go to pytest."""
    from roost.cli import development

    finish(development.test(args or [], unit=unit))


@verb()
def check_code(_context: object) -> None:
    """Run ruff, mypy --strict and the other checks over the code, and build the documentation."""
    from roost.cli import development

    finish(development.check_code())


@verb(
    help={
        "rounds": "measure everything N times, in turns",
        "chart": "draw the medians as an SVG picture into this file",
    }
)
def bench(_context: object, rounds: int = 3, chart: str | None = None, json: bool = False) -> None:
    """Measure what building costs, beside mmdebstrap at its best and mkosi where it is installed: ratios of medians."""
    from roost.cli import show
    from roost.host import output
    from roost.pipeline import bench as measuring
    from roost.pipeline import bench_report

    with terminal.events() as events:
        result = measuring.run(events, rounds)
    if chart is not None:
        output.write(Path(chart), bench_report.chart(result).encode())
    terminal.write_json(result) if json else terminal.write_text(show.bench(result))
