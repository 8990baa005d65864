"""Templates of files in the image: jinja2, where a name that is not defined is a mistake.

They are rendered before a build too, with a kernel version that stands in for one that is not known yet.
"""

from __future__ import annotations

import traceback
from collections.abc import Iterator

import jinja2

from roost.errors import Problem
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe

#: What `kernel` is while nothing is built.
SOME_KERNEL = "6.1.0-0-amd64"
_FILE = "<template>"


class TemplateMistakeError(ValueError):
    """A template that does not render: why, and in which of its lines."""


def render(loaded: Loaded, template: str, kernel: str = SOME_KERNEL) -> str:
    """Return a template's text; raise `TemplateMistakeError`, or `OSError` when the file cannot be read."""
    environment = jinja2.Environment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)
    recipe: Recipe = loaded.recipe
    try:
        source = (loaded.folder / template).read_text(encoding="utf-8")
        return environment.from_string(source).render(
            recipe=recipe.model_dump(mode="json"),
            name=recipe.name,
            kernel=kernel,
            variables=dict(loaded.variables),
        )
    except UnicodeDecodeError as error:
        raise TemplateMistakeError(f"{template} is not UTF-8: byte {error.start}") from error
    except jinja2.TemplateError as error:
        line = _line(error)
        raise TemplateMistakeError(f"{error.message} (line {line} of {template})" if line else str(error)) from error
    except (ArithmeticError, TypeError, ValueError, LookupError, AttributeError, RecursionError) as error:
        # What an expression in a template raises: `1 / 0`, `1 + "a"`.
        line = _line(error)
        raise TemplateMistakeError(f"{error} (line {line or '?'} of {template})") from error


def _line(error: Exception) -> int | None:
    """Return the template's line: of its syntax, else the last one that was being rendered."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.lineno
    lines = [
        frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == _FILE and frame.lineno
    ]
    return lines[-1] if lines else None


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each template that does not render."""
    for number, entry in enumerate(loaded.recipe.files):
        if entry.template is not None:
            try:
                render(loaded, entry.template)
            except TemplateMistakeError as mistake:
                yield loaded.problem(("files", number, "template"), str(mistake))
            except OSError:
                # The loader says what is wrong with the file.
                continue
