"""The tasks about submit descriptions and the results of jobs: `submit`, `lint`, `explain`."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from roost.cli import terminal
from roost.cli.verb import at_most_one, finish, verb


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `submit`."""

    hypervisor: str = ""
    transfer: str = ""
    jobs: str = ""
    snippet: bool = False
    output: str = ""
    from_: str = ""


@verb(
    positional=("name",),
    help={
        "hypervisor": "kvm or xen; default: the recipe's first",
        "transfer": "files, shared, or a URL prefix; default: the recipe's; with --from, where jobs copy from",
        "jobs": "a CSV file or a sweep (.yaml): one job a row, its columns are variables",
        "snippet": "only the vm_disk, xen_* and transfer_input_files lines",
        "output": "write to this file instead of standard output",
        "from_": "CATALOGUE or CATALOGUE@VERSION: the lines for a published image, without a build",
    },
)
def submit(_context: object, name: str, flags: Flags, set: list[str] | None = None, json: bool = False) -> None:
    """Print the submit description of the built image NAME, or of the published one."""
    from roost.pipeline import submit as story

    options = story.Options(
        flags.hypervisor or None,
        flags.transfer or None,
        Path(flags.jobs) if flags.jobs else None,
        flags.snippet,
        Path(flags.output) if flags.output else None,
        set or [],
    )
    with terminal.events() as events:
        text = (
            story.published(name, flags.from_, options, events) if flags.from_ else story.submit(name, options, events)
        )
    if json:
        terminal.write_json({"name": name, "submit": text, "output": flags.output or None})
    elif not flags.output:
        terminal.write_text(text, whole=True)


@verb(
    rest="file",
    help={
        "set": "NAME=VALUE: what DAGMan's VARS would set; may be repeated",
        "dag": "judge the nodes of this DAG file with their VARS; with FILE, those of this description alone",
    },
)
def lint(
    _context: object, file: list[str] | None = None, set: list[str] | None = None, dag: str = "", json: bool = False
) -> None:
    """Lint the submit description FILE, or standard input (-): what HTCondor would do to it, and why."""
    from roost.pipeline import lint as story

    report = story.lint(at_most_one(file or []), set or [], dag or None)
    if json:
        terminal.write_json(report.to_json())
    else:
        terminal.write_text("\n".join(report.render()) or "no findings")
    finish(report.ok)


@verb(rest="text", help={"log": "the same as FILE or -"})
def explain(_context: object, text: list[str] | None = None, log: str = "", json: bool = False) -> None:
    """Explain TEXT, a FILE or standard input (-): a hold reason, a job's log, condor_q's output; with the fix."""
    from roost.cli import show
    from roost.pipeline import explain as story

    result = story.explain([*(text or []), *([log] if log else [])], named=bool(log))
    found = bool(result["matches"])
    terminal.write_json({"ok": found, **result}) if json else terminal.write_text(show.explain(result))
    finish(found)
