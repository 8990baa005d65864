"""Untrusted templates: jinja2 in its sandbox, in a child process with limits on time, memory and size.

jinja2's sandbox keeps a template from Python's objects (`cycler.__init__.__globals__.os`), but not from endless loops
or texts of any size (jinja2, "Sandbox": "consider limiting resources"). So a template that comes with a recipe or a
site is rendered by a worker of `confined`, and an error has the line of its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.host import confined, files
from roost.host.files import size_in_words

#: Maximum bytes of a template, and of its rendered text.
SOURCE, RENDERED = 1 << 20, 16 << 20
#: Seconds of CPU time for all templates of one recipe, whatever images it makes.
IN_ALL = 10.0
_WORKER = "roost.host.template_worker"


@dataclass(frozen=True, slots=True)
class Failed:
    """A template that failed to render: the reason, the line (0: unknown) and the file ("": its own)."""

    what: str
    line: int = 0
    file: str = ""


@dataclass(slots=True)
class Clock:
    """The seconds of CPU time left for a group of templates."""

    left: float = IN_ALL

    @property
    def over(self) -> Failed:
        """Return the failure of a template for which no time is left."""
        return Failed(f"the templates of the recipe need more than {IN_ALL:g} s of CPU time in all")


def render(sources: Sequence[str], values: Mapping[str, Any], clock: Clock | None = None) -> list[str | Failed]:
    """Return each template's text rendered with `values` (JSON), or why it failed; `clock` is updated.

    Templates after one that had to be killed may be missing from the list.
    """
    if not sources:
        return []
    clock = clock or Clock()
    if clock.left <= 0:
        return [clock.over]
    return answers(_WORKER, {"sources": list(sources), "values": values}, len(sources), clock)


def answers(worker: str, request: Mapping[str, Any], wanted: int, clock: Clock | None = None) -> list[str | Failed]:
    """Return a worker module's answers for `wanted` templates, described by `request`; it may be stopped half-way."""
    clock = clock or Clock()
    results = confined.ask(worker, {**request, "seconds": clock.left})
    found: list[str | Failed] = [
        one["text"] if "text" in one else Failed(one["what"], one["line"], one["file"]) for one in results
    ]
    taken = sum(float(one["seconds"]) for one in results)
    stopped = len(found) < wanted
    # A killed worker has not reported how long it took.
    clock.left -= taken + (confined.STEP if stopped else 0)
    if stopped and (clock.left <= 0 or taken > confined.CPU - confined.STEP):
        clock.left = 0
        found.append(clock.over)
    elif stopped:
        bounds = f"{confined.STEP:g} s of CPU time or {size_in_words(confined.MEMORY)} of memory"
        found.append(Failed(f"the template needs more than {bounds}"))
    return found


def read(path: Path) -> str:
    """Return a template's source; raise `OSError` when it is not a regular file of at most `SOURCE` bytes."""
    return files.read_text(path, SOURCE)
