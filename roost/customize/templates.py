"""Templates of files in the image: jinja2, where an undefined name is an error.

They are also rendered before a build, with a placeholder for a kernel version that is not known yet, and in a confined
child (`host.template`): checking a recipe runs none of its code.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path

from roost.errors import Problem, RecipeError
from roost.host import safetext, template
from roost.host.paths import display
from roost.recipe.loader import Loaded
from roost.recipe.words import shown

#: The value of `kernel` before anything is built.
SOME_KERNEL = "6.1.0-0-amd64"

#: By the recipe's file: the time left for its templates, whatever images it makes, and the last rendered texts. Several
#: checks of one recipe use the same texts.
_clocks: dict[tuple[Path, str], template.Clock] = {}
_last: dict[Path, tuple[str, list[str | template.Failed]]] = {}


def rendered(loaded: Loaded, kernel: str = SOME_KERNEL) -> Mapping[str, str]:
    """Return the text of each template that the recipe's files name; raise `RecipeError` with all errors."""
    texts, wrong = _rendered(loaded, kernel)
    if wrong:
        raise RecipeError(wrong)
    return texts


def problems(loaded: Loaded) -> Iterator[Problem]:
    """Yield a problem for each template that does not render."""
    yield from _rendered(loaded, SOME_KERNEL)[1]


def _rendered(loaded: Loaded, kernel: str) -> tuple[dict[str, str], list[Problem]]:
    recipe = loaded.recipe
    first: dict[str, int] = {}
    for number, entry in enumerate(recipe.files):
        if entry.template is not None:
            first.setdefault(entry.template, number)
    sources: dict[str, str] = {}
    wrong: list[Problem] = []

    def mistake(name: str, what: str, line: int = 0) -> None:
        place = f"{shown(display(loaded.directory / name), 400)}{f':{line}' if line else ''}"
        wrong.append(loaded.problem(("files", first[name], "template"), f"{place}: {shown(what, 400)}"))

    for name in first:
        try:
            sources[name] = template.read(loaded.directory / name)
        except UnicodeDecodeError as error:
            mistake(name, f"not UTF-8: byte {error.start}")
        except OSError as error:
            mistake(name, f"cannot be read: {error.strerror}")
    values = {
        "recipe": recipe.model_dump(mode="json"),
        "name": recipe.name,
        "kernel": kernel,
        "variables": dict(loaded.variables),
    }
    key = json.dumps([sources, values], sort_keys=True)
    if _last.get(loaded.path, ("", []))[0] != key:
        clock = _clocks.setdefault((loaded.path, kernel), template.Clock())
        _last[loaded.path] = key, template.render(list(sources.values()), values, clock)
    texts: dict[str, str] = {}
    for name, made in zip(sources, _last[loaded.path][1], strict=False):
        if isinstance(made, template.Failed):
            mistake(name, made.what, made.line)
        elif safetext.is_unicode(made):
            texts[name] = made
        else:
            mistake(name, "it renders half a surrogate pair, which is not a character")
    return texts, wrong
