"""Submit descriptions: the values of `description`, laid out by templates that a site can override, then linted.

`submit.j2` is the whole description in named blocks, `snippet.j2` only the lines about disks. A template of the same
name in one of the folders of `template_folders` is used instead; it can `{% extends "roost/submit.j2" %}` to change one
block and keep the rest. What a template writes must pass roost's lint like any other description.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import fields
from pathlib import Path

import jinja2
from jinja2.sandbox import SandboxedEnvironment

from roost.condor.description import Description, describe
from roost.condor.from_recipe import BuiltFiles
from roost.condor.jobs_file import Jobs, read_jobs
from roost.condor.lint import lint_text
from roost.condor.machine import Hypervisor
from roost.condor.placement import Where, nowhere
from roost.condor.rules import Severity
from roost.errors import Location, Problem, RecipeError, UsageError
from roost.recipe.model import Recipe

TEMPLATES = Path(__file__).parent / "templates"

_COMMAND = re.compile(r"(?P<name>\+?[A-Za-z_][\w.]*)[ \t]*=(?!=)[ \t]*(?P<value>.*)")


def template_folders(project: Path | None) -> tuple[Path, ...]:
    """Return where a site's own templates are looked for: the project's templates/, then the user's."""
    config = os.environ.get("XDG_CONFIG_HOME") or str(Path("~/.config").expanduser())
    return (*((project / "templates",) if project else ()), Path(config) / "roost" / "templates")


def submit_description(
    recipe: Recipe,
    hypervisor: Hypervisor,
    *,
    transfer: str | None = None,
    files: BuiltFiles | None = None,
    jobs: Path | Jobs | None = None,
    snippet: bool = False,
    output_folder: str = "",
    templates: Sequence[Path] = (),
    where: Where = nowhere,
) -> str:
    """Return the submit description of an image, or with `snippet` only its lines about disks.

    `transfer` is files, shared, or a URL of the folder; None is the recipe's own. `files` has the sizes of the built
    files and, for `shared`, their folder. `jobs` is a file of jobs (see `jobs_file`): one job a row. Returned disks
    are named NAME-CLUSTER.PROCESS.FORMAT and go to `output_folder`, relative to the folder of the submission.
    `templates` are folders of templates that replace roost's (see `template_folders`), `where` locates keys of the
    recipe. The same arguments give the same text. Raises `RecipeError` with all reasons at once when the recipe does
    not allow it or the lint finds an error in the result, `UsageError` for a template or file that cannot be read.
    """
    table = read_jobs(jobs) if isinstance(jobs, Path) else jobs
    values = describe(
        recipe, hypervisor, transfer=transfer, files=files, jobs=table, output_folder=output_folder, where=where
    )
    whole = render(values, "submit.j2", templates)
    judge(whole, f"{hypervisor}.sub")
    return render(values, "snippet.j2", templates) if snippet else whole


def render(values: Description, template: str, folders: Sequence[Path] = ()) -> str:
    """Return a description laid out by a template, the `=` of neighbouring commands in one column."""
    environment = _environment(folders)
    context = {field.name: getattr(values, field.name) for field in fields(values)}
    try:
        text = environment.get_template(template).render(context)
    except UnsafeValueError as error:
        raise UsageError(str(error), hint="a value of a submit description is one line") from error
    except jinja2.TemplateSyntaxError as error:
        where = Location(error.filename or error.name or template, error.lineno)
        raise UsageError(f"template: {error.message}", where=where) from error
    except (jinja2.TemplateError, TypeError, ValueError, ArithmeticError, LookupError) as error:
        raise UsageError(f"template {template}: {error}", where=_line_of(error), hint="see roost's own") from error
    except OSError as error:
        raise UsageError(f"template {template} cannot be read: {error}") from error
    return "\n".join(_aligned(_tidied(text))).rstrip("\n") + "\n"


_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class UnsafeValueError(ValueError):
    """A value that would break out of its line."""


def one_line(value: object) -> object:
    """Refuse a value with a line break or another control character; every expression of a template passes here."""
    if isinstance(value, str) and _CONTROL.search(value):
        raise UnsafeValueError(f"the value {value!r} has a line break or a control character")
    return value


def listed(values: Iterable[object]) -> str:
    """Return a comma-separated list; refuse an item with a comma, a blank or a quote, which HTCondor would misread."""
    items = [str(value) for value in values]
    for item in items:
        if not item or re.search(r"[\s,\"'\\]", item):
            raise UnsafeValueError(f"{item!r} cannot be an item of a list")
    return ",".join(items)


def remapped(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the quoted value of transfer_output_remaps."""
    written = [(str(name), str(new)) for name, new in pairs]
    for name in (part for pair in written for part in pair):
        if not name or re.search(r"[\s;=\"',]", name):
            raise UnsafeValueError(f"{name!r} cannot be a name in transfer_output_remaps")
    return '"' + "; ".join(f"{name} = {new}" for name, new in written) + '"'


def seconds(value: int) -> str:
    """Return a time in words: 16200 is `4 h 30 min`."""
    parts = [(value // 3600, "h"), (value % 3600 // 60, "min"), (value % 60, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def _environment(folders: Sequence[Path]) -> SandboxedEnvironment:
    own = jinja2.FileSystemLoader(TEMPLATES)
    sites = [jinja2.FileSystemLoader(folder) for folder in folders]
    environment = SandboxedEnvironment(
        loader=jinja2.ChoiceLoader([jinja2.PrefixLoader({"roost": own}), *sites, own]),
        undefined=jinja2.StrictUndefined,
        # A submit description is no HTML: `finalize` guards it.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=one_line,
    )
    environment.filters |= {"listed": listed, "remapped": remapped, "seconds": seconds}
    return environment


def _line_of(error: BaseException) -> Location | None:
    """Return where in a template an error came up: jinja2 puts the template's frames into the traceback."""
    found = None
    trace = error.__traceback__
    while trace is not None:
        name = trace.tb_frame.f_code.co_filename
        if name.endswith(".j2"):
            found = Location(name, trace.tb_lineno)
        trace = trace.tb_next
    return found


def _tidied(text: str) -> list[str]:
    """Return the lines without trailing blanks, never two empty ones in a row, none at either end."""
    lines: list[str] = []
    for line in (raw.rstrip() for raw in text.split("\n")):
        if line or (lines and lines[-1]):
            lines.append(line)
    while lines and not lines[-1]:
        lines.pop()
    return lines


def _aligned(lines: Sequence[str]) -> Iterator[str]:
    """Yield the lines with the `=` of each paragraph in one column; what is no plain command stays as it is."""
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
    """Raise `RecipeError` when the lint calls anything in the text an error: HTCondor would not run it as meant."""
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
