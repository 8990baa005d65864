"""The template environment of submit descriptions: jinja2's sandbox, and filters that refuse unsafe values."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from pathlib import Path

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment

from roost.host import template

_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f-\x9f\u2028\u2029]")


class UnsafeValueError(ValueError):
    """A value that would break out of its line."""


def one_line(value: object) -> object:
    """Refuse a value with a line break or another control character; every expression of a template passes through."""
    if isinstance(value, str) and _CONTROL.search(value):
        raise UnsafeValueError(f"the value {value!r} has a line break or a control character")
    return value


def listed(values: Iterable[object]) -> str:
    """Return a comma-separated list; refuse an item with a comma, a blank or a quote, which HTCondor would misread."""
    items = [str(value) for value in values]
    for item in items:
        if not item or re.search(r"[\s,\"'\\]", item):
            what = "has a blank, a comma, a quote or a backslash" if item else "is empty"
            raise UnsafeValueError(f"{item!r} {what}, which HTCondor's lists of files cannot carry")
    return ",".join(items)


def remapped(pairs: Iterable[tuple[str, str]]) -> str:
    """Return the quoted value of transfer_output_remaps."""
    written = [(str(name), str(new)) for name, new in pairs]
    for name in (part for pair in written for part in pair):
        if not name or re.search(r"[\s;=\"',]", name):
            what = "has a blank, a quote or one of ; = ," if name else "is empty"
            raise UnsafeValueError(f"{name!r} {what}, which transfer_output_remaps cannot carry")
    return '"' + "; ".join(f"{name} = {new}" for name, new in written) + '"'


def seconds(value: int) -> str:
    """Return a duration in words: 16200 is `4 h 30 min`."""
    parts = [(value // 3600, "h"), (value % 3600 // 60, "min"), (value % 60, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def environment(directories: Sequence[Path], own: Path) -> ImmutableSandboxedEnvironment:
    """Return an environment that looks for templates in a site's `directories`, then in `own`, also as `roost/`."""
    made = ImmutableSandboxedEnvironment(
        loader=_loader(directories, own),
        undefined=jinja2.StrictUndefined,
        # A submit description is not HTML; `finalize` guards it.
        autoescape=False,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
        finalize=one_line,
    )
    made.filters |= {"listed": listed, "remapped": remapped, "seconds": seconds}
    return made


def _loader(directories: Sequence[Path], own: Path) -> jinja2.FunctionLoader:
    def load(name: str) -> tuple[str, str, None] | None:
        try:
            parts = jinja2.loaders.split_template_path(name)
        except jinja2.TemplateNotFound:
            return None
        places = (
            [own.joinpath(*parts[1:])]
            if parts[:1] == ["roost"]
            else [one.joinpath(*parts) for one in (*directories, own)]
        )
        for path in places:
            try:
                return template.read(path), str(path), None
            except (FileNotFoundError, NotADirectoryError):
                continue
            except (OSError, UnicodeDecodeError) as error:
                why = error.strerror if isinstance(error, OSError) else f"byte {error.start} is not UTF-8"
                raise jinja2.TemplateSyntaxError(f"the template cannot be read: {why}", 1, name, str(path)) from error
        return None

    return jinja2.FunctionLoader(load)
