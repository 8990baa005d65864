"""The child of `template`: renders the templates on standard input, and writes one answer per line.

Does not import what a recipe's model needs: it is started for every recipe with templates.
"""

from __future__ import annotations

import functools
import json
import sys
import time
import traceback
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from roost.host import confined, files
from roost.host.template import RENDERED

_FILE = "<template>"


class _TooLargeError(Exception):
    """The rendered text exceeds the limit."""


def environment() -> ImmutableSandboxedEnvironment:
    """Return the environment of a recipe's templates: a single text, without includes."""
    return ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True, autoescape=False)


def _bounded(pieces: Iterable[str]) -> str:
    kept, size = [], 0
    for piece in pieces:
        size += len(piece)
        if size > RENDERED:
            raise _TooLargeError
        kept.append(piece)
    return "".join(kept)


def _place(error: BaseException) -> tuple[int, str]:
    """Return the line and the file of an error: of the syntax, else of the last template being rendered."""
    if isinstance(error, jinja2.TemplateSyntaxError):
        return error.lineno, error.filename or ""
    frames = [
        frame
        for frame in traceback.extract_tb(error.__traceback__)
        if frame.lineno and (frame.filename == _FILE or frame.filename.endswith(".j2"))
    ]
    if not frames:
        return 0, ""
    return frames[-1].lineno or 0, "" if frames[-1].filename == _FILE else frames[-1].filename


_MEANINGS: Mapping[type[BaseException], str] = {
    confined.StepTimeoutError: f"the template needs more than {confined.STEP:g} s of CPU time",
    _TooLargeError: f"the template renders to more than {files.size_in_words(RENDERED)}",
    MemoryError: f"the template needs more than {files.size_in_words(confined.MEMORY)} of memory",
    RecursionError: "the template is nested too deep, or calls itself endlessly",
}


def _words(error: BaseException) -> str:
    for kind, meaning in _MEANINGS.items():
        if isinstance(error, kind):
            return meaning
    if isinstance(error, jinja2.TemplateNotFound):
        return f"there is no template {error.message}"
    if isinstance(error, TypeError) and "no loader" in str(error):
        return "a template cannot include or import another"
    if isinstance(error, jinja2.TemplateError):
        return (error.message or "it cannot be rendered").rstrip(".")
    return str(error) or "it cannot be rendered"


def answer(template: Callable[[], jinja2.Template], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the answer for one template: its text, or the error and its place."""
    begin = time.process_time()
    confined.begin_step()
    try:
        text = _bounded(template().generate(values))
        return {"text": text, "seconds": time.process_time() - begin}
    except Exception as error:  # an expression of a template can raise anything
        confined.end_step()
        line, file = _place(error)
        return {"what": _words(error)[:400], "line": line, "file": file, "seconds": time.process_time() - begin}
    finally:
        confined.end_step()


def main() -> None:
    """Process the request on standard input."""
    confined.confine()
    request = json.load(sys.stdin)
    made = environment()
    begin = time.process_time()
    for source in request["sources"]:
        if time.process_time() - begin > request["seconds"]:
            break
        confined.answer(answer(functools.partial(made.from_string, source), request["values"]))


if __name__ == "__main__":
    main()
