"""The result as Markdown, for the job pages of CI services: a headline, a table, the causes of failures.

Names and causes are untrusted text: characters special to Markdown or HTML are escaped, and a line stays one line.
"""

from __future__ import annotations

import re

from roost.factory.graph import STEPS, Kind
from roost.factory.outcome import Failure, Image, Result
from roost.host.safetext import one_line

#: The maximum length of a cause, and the number of causes shown in full: GitHub accepts 1 MiB for a job's page.
CAUSE, SHOWN = 2000, 50
_SPECIAL = re.compile(r"([\\`*_{}\[\]()#+\-.!|~>&$@:=^])")
_MARKS = {"done": "✅", "cached": "☑️", "failed": "❌", "skipped": "–", "stopped": "–"}


def escaped(text: str) -> str:
    """Return text that Markdown shows literally, on one line."""
    return _SPECIAL.sub(r"\\\1", one_line(text).replace("\n", " ")).replace("<", "&lt;")


def seconds(taken: float) -> str:
    """Return a duration in readable form."""
    return f"{taken:.0f} s" if taken < 120 else f"{taken / 60:.0f} min"


def headline(result: Result) -> str:
    """Return a one-line summary of the result."""
    count = result.count()
    if not result.images:
        return "No image to build"
    if result.stopped:
        return f"Stopped: {count['images'] - count['failed']} of {count['images']} images finished"
    if count["failed"]:
        return f"{count['failed']} of {count['images']} images failed"
    done = "published" if result.catalogue else "built and booted"
    return f"All {count['images']} images {done}" if count["images"] > 1 else f"The image is {done}"


def render(result: Result) -> str:
    """Return the result as Markdown."""
    mark = "✅" if result.ok else "❌"
    lines = [f"## {mark} {escaped(headline(result))}", ""]
    where = f" to {escaped(result.catalogue)}" if result.catalogue else ""
    at = f", {result.jobs} at a time" if result.jobs else ""
    lines += [f"roost factory, {seconds(result.seconds)}{at}{where}", ""]
    steps: list[Kind] = [kind for kind in STEPS if any(kind in image.steps for image in result.images)]
    if result.images:
        head = ["image", *(STEPS[kind] for kind in steps), "time", "version or cause"]
        lines += [_row(head), _row(["---"] * len(head))]
        lines += [_row(_cells(image, result.title(image), steps)) for image in result.images]
        lines += ["", "✅ done, ☑️ done before and still valid, ❌ failed, – not reached", ""]
    bad: list[tuple[str, Failure | None]] = [*result.mistakes.items()]
    bad += [(result.title(image), image.failure) for image in result.images if not image.ok and image.broken is None]
    for title, failure in bad[:SHOWN]:
        lines += _cause(failure, title)
    if len(bad) > SHOWN:
        lines += [f"{len(bad) - SHOWN} more failed: see the table.", ""]
    lines += [f"- {escaped(note)}" for note in result.notes[:SHOWN]]
    return "\n".join(lines).rstrip() + "\n"


def _row(cells: list[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cells(image: Image, title: str, steps: list[Kind]) -> list[str]:
    marks = [_MARKS[image.steps[kind].state] if kind in image.steps else "–" for kind in steps]
    last = image.cause or image.version or ""
    return [escaped(title), *marks, seconds(image.seconds), escaped(last[:300])]


def _cause(failure: Failure | None, title: str) -> list[str]:
    """Return the whole cause of a failure as a block that nothing in it can end."""
    if failure is None:
        return []
    text = "\n".join(part for part in (failure.text, failure.tail) if part)[:CAUSE]
    body = [f"    {one_line(line)}" for line in text.splitlines()]
    return [f"### {escaped(title)}", "", *body, ""]
