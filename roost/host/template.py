"""Foreign templates: jinja2 in its sandbox, in a child process with bounds of time, memory and size.

jinja2's sandbox keeps a template from Python's objects (`cycler.__init__.__globals__.os`), not from loops without end
or texts of any size (jinja2, "Sandbox": "consider limiting resources"). So a template that comes with a recipe, or
with a site, is rendered by a worker of `confined`, and a mistake in it has the line of its file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.host import confined, files
from roost.host.files import size_in_words

#: Bytes of a template, and of what it renders to.
SOURCE, RENDERED = 1 << 20, 16 << 20
_WORKER = "roost.host.template_worker"


@dataclass(frozen=True, slots=True)
class Failed:
    """A template that does not render: why, in which line (0: not known) of which file ("": its own)."""

    what: str
    line: int = 0
    file: str = ""


def render(sources: Sequence[str], values: Mapping[str, Any]) -> list[str | Failed]:
    """Return what each template's text renders to with `values` (JSON), or why it does not.

    What stands after one that had to be killed may be missing from the list.
    """
    if not sources:
        return []
    return answers(_WORKER, {"sources": list(sources), "values": values}, len(sources))


def answers(worker: str, request: Mapping[str, Any], wanted: int) -> list[str | Failed]:
    """Return what a worker module makes of `wanted` templates: it is told by `request`, and may be stopped half-way."""
    found: list[str | Failed] = [
        one["text"] if "text" in one else Failed(one["what"], one["line"], one["file"])
        for one in confined.ask(worker, request)
    ]
    if len(found) < wanted:
        bounds = f"{confined.STEP:g} s of CPU time or {size_in_words(confined.MEMORY)} of memory"
        found.append(Failed(f"the template needs more than {bounds}"))
    return found


def read(path: Path) -> str:
    """Return a template's source; raise `OSError` when it is not a regular file of at most `SOURCE` bytes."""
    return files.read_text(path, SOURCE)
