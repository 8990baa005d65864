"""The pages of docs/reference by their file names."""

from __future__ import annotations

from pathlib import Path

from docs.generate import calls, recipe, tables

REFERENCE = Path(__file__).parents[1] / "reference"


def pages() -> dict[str, str]:
    """Return the text of each page."""
    return {
        "recipe.md": recipe.page(),
        "tasks.md": calls.page(),
        "lint.md": tables.lint_codes(),
        "causes.md": tables.causes(),
        "exit-codes.md": tables.exit_codes(),
        "manifest.md": tables.manifest(),
        "environment.md": tables.environment(),
    }
