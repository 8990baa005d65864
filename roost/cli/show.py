"""Results as shown on a terminal: short tables, and the next steps."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from roost.cli import calls
from roost.host.paths import display
from roost.host.safetext import one_line
from roost.recipe.quantities import format_size
from roost.recipe.words import some

if TYPE_CHECKING:
    from roost.boot.result import BootResult
    from roost.pipeline.build import Built


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns, two blanks apart."""
    if not rows:
        return ""
    rows = [[calls.typed(cell) for cell in row] for row in rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return "\n".join(lines)


def indented(text: str) -> str:
    """Return `text` with each line indented by two."""
    return "\n".join(f"  {line}" if line else "" for line in text.splitlines())


def doctor(result: Mapping[str, Any]) -> str:
    """Render the host's checks: a mark, what was found, how to fix it."""
    rows = [[("ok" if check["ok"] else "--"), check["name"], check["seen"]] for check in result["checks"]]
    lines = [table(rows)]
    mends = [f"  {check['name']}: {check['fix']}" for check in result["checks"] if not check["ok"] and check["fix"]]
    if mends:
        lines += ["", "to fix:", *mends]
    lines += ["", "this host can build and boot images" if result["ok"] else "this host lacks something essential"]
    return "\n".join(lines)


def recipes(result: Mapping[str, Any]) -> str:
    """Render the recipes and the state of their images."""
    rows = [["recipe", "state", "description"]]
    rows += [[recipe["name"], recipe["state"], recipe["description"]] for recipe in result["recipes"]]
    return table(rows)


def check(result: Mapping[str, Any]) -> str:
    """Render what was checked; mistakes went to standard error with their places."""
    lines = []
    for recipe in result["recipes"]:
        for problem in recipe["problems"]:
            lines.append(problem)
        lines += [f"note: {note}" for note in recipe["notes"]]
        count = len(recipe["problems"])
        mark = "ok" if recipe["ok"] else f"{count} problem{'s' if count > 1 else ''}"
        lines.append(f"{_named(recipe['name'])}: {mark}")
    return "\n".join(lines)


def _named(name: str) -> str:
    """Return a name given by the caller, on one line and of a readable length."""
    name = one_line(name)
    return name if len(name) <= 200 else f"{name[:197]}..."


def resolved(result: Mapping[str, Any]) -> str:
    """Render the final recipe: key, value as JSON, origin."""
    rows = [
        [
            row["key"],
            json.dumps(row["value"], ensure_ascii=False, default=str),
            ", with ".join([row["from"] or "default", *row["through"]]),
        ]
        for row in result["values"]
    ]
    return table(rows)


def build(built: Built) -> str:
    """Render a finished build: files, sizes, the lines for a submit description, the next steps."""
    directory = display(built.directory)
    state = "nothing has changed" if built.cached else f"built in {sum(built.seconds.values()):.1f} s"
    rows = [["file", "format", "guest sees", "on disk", "sha256"]]
    rows += [
        [file.name, file.format, format_size(file.virtual), format_size(file.allocated), file.sha256[:12]]
        for file in built.files
    ]
    lines = [f"{built.name}: {state}, in {directory}", "", indented(table(rows))]
    for name, snippet in built.snippets.items():
        lines += ["", f"  {name}:", indented(indented(snippet.strip()))]
    first = f"{next(iter(built.snippets))}.sub"
    # A boot takes no --set; the description beside the image is one of its disks.
    boots = shlex.quote(f"{directory}/{first}" if built.renamed else built.called or built.name)
    lines += [
        "",
        "next:",
        indented(
            table(
                [
                    [f"inv boot {boots}", "test boot, as HTCondor would run it"],
                    [f"cd {shlex.quote(directory)} && condor_submit {first}", "run it in your pool"],
                ]
            )
        ),
    ]
    return "\n".join(lines)


def boot(result: BootResult) -> str:
    """Render a verdict: passed, or the phase, the cause and the last lines of the job or of the console."""
    answer = result.to_json()
    total = sum(answer["seconds"].values())
    how = f"{answer['hypervisor']} machine {answer['machine']}, accelerator {answer['accelerator']}, {total:.1f} s"
    lines = [f"{'passed' if answer['passed'] else 'FAILED'}: {how}"]
    if not answer["passed"]:
        lines += [f"  phase {answer['phase']}, cause {answer['cause']}", f"  {answer['detail']}"]
    for expectation in answer["expectations"]:
        mark = "met" if expectation["met"] else "NOT met"
        seen = f": {expectation['seen']}" if expectation["seen"] and not expectation["met"] else ""
        lines.append(f"  {mark}: {expectation['what']}{seen}")
    lines += [f"  note: {note}" for note in answer["notes"]]
    if not answer["passed"]:
        lines += _last_lines(answer)
        lines.append(f"  console: {display(Path(answer['serial_log']))}")
    if answer["report"]:
        lines.append(f"  report: {display(Path(answer['report']))}")
    return "\n".join(lines)


def _last_lines(answer: Mapping[str, Any]) -> list[str]:
    """Return the last output of a failed job; for another failure, or without output, the console's last lines."""
    if answer["cause"] in ("job-failed", "job-timeout") and answer["job_log"]:
        return ["  the job's last lines:", *(f"  | {line}" for line in answer["job_log"][-15:])]
    console = str(answer["console"]).splitlines()[-15:]
    return ["  the console's last lines:", *(f"  | {line}" for line in console)] if console else []


def explain(result: Mapping[str, Any]) -> str:
    """Render explanations: meaning, cause, fix, source."""
    if not result["matches"]:
        note = f"{result['note']}\n" if result.get("note") else ""
        return f"{note}no known message found; `inv lint FILE.sub` judges the submit description itself"
    parts = []
    for match in result["matches"]:
        parts.append(
            "\n".join(
                [
                    match["code"] + (f" (job {_jobs(match['jobs'])})" if match.get("jobs") else ""),
                    f"  what it means:  {match['meaning']}",
                    f"  cause:          {match['cause']}",
                    f"  fix:            {match['fix']}",
                    f"  source:         {match['source']}",
                ]
            )
        )
    return "\n\n".join(parts)


def _jobs(jobs: Sequence[str]) -> str:
    return some(jobs, 8)


def bench(result: Mapping[str, Any]) -> str:
    """Render the medians of the measurements, and their ratios."""
    rows = [["", "wall", "CPU"]]
    rows += [[what, f"{cost['wall']:.2f} s", f"{cost['cpu']:.2f} s"] for what, cost in result["costs"].items()]
    ratios = [["ratio of medians (of one round)", "wall", "CPU"]]
    ratios += [[what, _spread(ratio["wall"]), _spread(ratio["cpu"])] for what, ratio in result["ratios"].items()]
    boots = f"a test boot of smoke adds {result['boot_adds_seconds']:.2f} s to bare QEMU"
    return "\n".join([table(rows), "", table(ratios), "", boots, *map(one_line, result["notes"])])


def _spread(ratio: Mapping[str, float]) -> str:
    return f"{ratio['median']:.2f} ({ratio['min']:.2f} to {ratio['max']:.2f})"
