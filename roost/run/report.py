"""The report of a run: a self-contained page with each job's verdict, log, and the end of its machine's console.

Logs and names are untrusted text: cleaned line by line, truncated, and escaped by the template. The total size of
the logs is bounded; those of jobs that are not done come first.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from roost.host import files, webpage
from roost.host.safetext import clean
from roost.iodisk.look import LOG
from roost.run.model import VERDICTS, Outcome
from roost.run.result import Result

TEMPLATES = Path(__file__).parent / "templates"
#: Limits for the end of a log: bytes, lines, and characters of a line.
SHOWN, LINES, LINE = 16 << 10, 200, 2000
#: The maximum size in bytes of all logs in the page.
ALL = 24 << 20


def page(result: Result, at: Path) -> str:
    """Return the page of a run as HTML; its links are relative to the directory `at`."""
    environment = webpage.environment("roost.run")
    answer = result.to_json()
    counts = [(verdict, answer["counts"][verdict]) for verdict in VERDICTS if verdict in answer["counts"]]
    return environment.get_template("report.html.j2").render(
        answer=answer,
        jobs=_jobs(result, at),
        counts=counts,
        facts=list(_facts(result, counts)),
        several=len({one.image for one in result.outcomes}) > 1,
        **webpage.look(TEMPLATES / "report.css", TEMPLATES / "report.js"),
    )


def _facts(result: Result, counts: Sequence[tuple[str, int]]) -> Iterator[tuple[str, str]]:
    yield "verdicts", ", ".join(f"{count} {verdict}" for verdict, count in counts) or "none"
    about: Mapping[str, Any] = result.about
    if about.get("executor"):
        yield "run", {"local": "on this machine"}.get(str(about["executor"]), f"by the {about['executor']}")
    if result.accelerator:
        yield "accelerator", result.accelerator
    if about.get("guests"):
        yield "guests at a time", str(about["guests"])
    taken = sum(one.seconds or 0.0 for one in result.outcomes)
    yield "time of all machines", f"{taken / 3600:.1f} h" if taken >= 3600 else f"{taken:.0f} s"


def _jobs(result: Result, at: Path) -> list[dict[str, Any]]:
    """Return the jobs as the template shows them, in order."""
    shown: dict[str, dict[str, Any]] = {}
    left = ALL
    for one in sorted(result.outcomes, key=lambda one: one.verdict == "done"):
        log = tail(one.output / LOG) if one.output and left > 0 else ""
        console = tail(one.log) if one.log and one.verdict != "done" and left > 0 else ""
        left -= len(log.encode()) + len(console.encode())
        shown[one.name] = {**one.to_json(), "log": log, "console": console, "links": list(_links(one, at))}
    return [shown[one.name] for one in result.outcomes]


def tail(path: Path) -> str:
    """Return the last lines of a log, safe to show; empty if it cannot be read."""
    try:
        with files.open_regular(path) as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - SHOWN))
            data = file.read(SHOWN)
    except OSError:
        return ""
    lines = [clean(line)[:LINE] for line in data.replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")]
    if size > SHOWN:
        lines = lines[1:]
    cut = len(lines) > LINES or size > SHOWN
    return "\n".join([*(["[…]"] if cut else []), *lines[-LINES:]]).strip()


def _links(one: Outcome, at: Path) -> Iterator[tuple[str, str]]:
    """Yield the files that a job left, as (name, address)."""
    for name, path in (("output", one.output), ("console", one.log)):
        if path is not None:
            yield name, quote(os.path.relpath(path, at)) + ("/" if name == "output" else "")
