"""Submit descriptions: the values of `description` rendered by templates that a site can override, then linted.

`submit.j2` is the whole description in named blocks, `snippet.j2` only the lines about disks. A template of the
same name in one of `template_directories` takes precedence; it can `{% extends "roost/submit.j2" %}` to override
one block and keep the rest. The output of a template must pass roost's lint like any other description.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from pathlib import Path

from roost.condor import jobs_rows, site
from roost.condor.submit_values import Delivery, SubmitValues, describe
from roost.errors import Problem, RecipeError
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe

TEMPLATES = Path(__file__).parent / "templates"

_COMMAND = re.compile(r"(?P<name>\+?[A-Za-z_][\w.]*)[ \t]*=(?!=)[ \t]*(?P<value>.*)")


def template_directories(project: Path | None) -> tuple[Path, ...]:
    """Return the directories that may hold a site's templates: the project's templates/, then the user's."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return (*((project / "templates",) if project else ()), Path(config) / "roost" / "templates")


@dataclass(frozen=True, slots=True)
class Emitted:
    """A submit description that passed the lint: its `text` and the values it was rendered from."""

    text: str
    values: SubmitValues
    templates: Sequence[Path]

    def snippet(self) -> str:
        """Return only the lines about disks."""
        return snippet(self.values, self.templates)


def submit_description(
    recipe: Recipe, hypervisor: Hypervisor, delivery: Delivery, *, templates: Sequence[Path] = ()
) -> Emitted:
    """Return the submit description of an image.

    `templates` are directories of templates that override roost's: `template_directories`. The same arguments give the
    same text. Raises `RecipeError` with all reasons when the recipe does not allow a description or the lint finds an
    error in it, `UsageError` for a template or file that cannot be read.
    """
    values = describe(recipe, hypervisor, delivery)
    whole = render(values, "submit.j2", templates)
    judge(whole, f"{hypervisor}.sub")
    return Emitted(whole, values, templates)


def snippet(values: SubmitValues, templates: Sequence[Path] = ()) -> str:
    """Return only the lines about disks, of a description that was already linted."""
    return render(values, "snippet.j2", templates)


def render(values: SubmitValues, template: str, directories: Sequence[Path] = ()) -> str:
    """Return a description rendered by a template, with the `=` of adjacent commands aligned."""
    given: dict[str, object] = {one.name: getattr(values, one.name) for one in fields(values)}
    text = site.render(template, directories, TEMPLATES, given | {"rows": (), "row_macros": (), "left_out": ()})
    if values.rows:
        # The site's template also determines which variables the description refers to.
        text = site.render(template, directories, TEMPLATES, given | _rows(values, text))
    return "\n".join(_aligned(_tidied(text))).rstrip("\n") + "\n"


def _rows(values: SubmitValues, text: str) -> dict[str, object]:
    used = jobs_rows.uses(text.splitlines())
    if forbidden := list(jobs_rows.problems(values.variables, values.rows, used)):
        raise RecipeError(forbidden)
    rows = jobs_rows.arrange(values.variables, values.rows, used)
    return {"variables": rows.variables, "rows": rows.rows, "row_macros": rows.macros, "left_out": rows.left_out}


def _tidied(text: str) -> list[str]:
    """Return the lines without trailing blanks, consecutive empty lines, or empty lines at either end."""
    lines: list[str] = []
    for line in (raw.rstrip() for raw in text.split("\n")):
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _aligned(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines with the `=` of each paragraph aligned; a line that is not a plain command is unchanged."""
    paragraph: list[str] = []
    for line in [*lines, ""]:
        if line:
            paragraph.append(line)
            continue
        yield from _aligned_paragraph(paragraph)
        yield ""
        paragraph = []


def _aligned_paragraph(lines: Sequence[str]) -> Iterator[str]:
    continued = any(line.endswith("\\") or line.lower().startswith("queue") or "@=" in line for line in lines)
    matches = [None if continued else _COMMAND.fullmatch(line) for line in lines]
    width = max((len(match["name"]) for match in matches if match), default=0)
    for line, match in zip(lines, matches, strict=True):
        yield f"{match['name']:<{width}} = {match['value']}".rstrip() if match else line


def judge(text: str, file: str) -> None:
    """Raise `RecipeError` when the lint finds an error in the text: HTCondor would not run it as intended."""
    from roost.condor.lint import lint_text
    from roost.condor.rules import Severity

    wrong = [
        finding for finding in lint_text(text, file, environment={}).findings if finding.rule.severity is Severity.ERROR
    ]
    if wrong:
        lines = text.splitlines()
        raise RecipeError(
            [
                Problem(f"{finding.message}: {lines[finding.where.line - 1].strip()}", finding.where, finding.hint)
                for finding in wrong
            ]
        )
