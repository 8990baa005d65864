"""Whether a call of pytest asks for these tests: by their path only, since they need root and minutes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

HERE = Path(__file__).parent


def asked(arguments: Sequence[str], directory: Path) -> bool:
    """Return whether one of pytest's arguments, relative to `directory`, is in tests/pool."""
    return any(path == HERE or HERE in path.parents for path in _paths(arguments, directory))


def notice(arguments: Sequence[str], directory: Path) -> str | None:
    """Return the line for a call that would have these tests, by what is above them, and leaves them out."""
    above = any(path in HERE.parents for path in _paths(arguments, directory))
    if not above or asked(arguments, directory):
        return None
    return "tests/pool is left out: it needs root and takes minutes (sudo .venv/bin/python -m pytest tests/pool)"


def _paths(arguments: Sequence[str], directory: Path) -> list[Path]:
    return [Path(directory, argument.split("::")[0]).resolve() for argument in arguments]
