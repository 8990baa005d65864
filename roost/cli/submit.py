"""The tasks about submit descriptions and what became of the jobs: `submit`, `lint`, `explain`."""

from __future__ import annotations

from pathlib import Path

from roost.cli import terminal
from roost.cli.verb import finish, verb


@verb(
    positional=("name",),
    help={
        "hypervisor": "kvm or xen; default: the recipe's first",
        "transfer": "files, shared, or a URL prefix; default: the recipe's",
        "jobs": "a CSV file: one job a row, its columns are variables",
        "snippet": "only the vm_disk, xen_* and transfer_input_files lines",
        "output": "write to this file instead of standard output",
        "from_": "CATALOGUE or CATALOGUE@VERSION: the lines for a published image, without a build",
    },
)
def submit(
    _context: object,
    name: str,
    hypervisor: str = "",
    transfer: str = "",
    jobs: str = "",
    snippet: bool = False,
    output: str = "",
    from_: str = "",
    json: bool = False,
) -> None:
    """Print the submit description of the built image NAME, or of the published one."""
    from roost.pipeline import publish
    from roost.pipeline import submit as story

    hypervisor_, transfer_ = hypervisor or None, transfer or None
    jobs_, output_ = Path(jobs) if jobs else None, Path(output) if output else None
    if from_:
        text = publish.published_description(
            name,
            from_,
            hypervisor=hypervisor_,
            transfer=transfer_,
            jobs=jobs_,
            snippet=snippet,
            output=output_,
        )
    else:
        text = story.submit(
            name, hypervisor=hypervisor_, transfer=transfer_, jobs=jobs_, snippet=snippet, output=output_
        )
    if json:
        terminal.write_json({"name": name, "submit": text, "output": output or None})
    elif not output:
        terminal.write_text(text)


@verb(positional=("file",))
def lint(_context: object, file: str, json: bool = False) -> None:
    """Lint the submit description FILE, or standard input (-): what HTCondor would do to it, and why."""
    from roost.pipeline import lint as story

    report = story.lint(file)
    if json:
        terminal.write_json(report.to_json())
    else:
        terminal.write_text("\n".join(report.render()) or "nothing to say: HTCondor runs this")
    finish(report.ok)


@verb(rest="text", help={"log": "the same as FILE or -"})
def explain(_context: object, text: list[str] | None = None, log: str = "", json: bool = False) -> None:
    """Explain TEXT, a FILE or standard input (-): a hold reason, a job's log, condor_q's output; with the fix."""
    from roost.cli import show
    from roost.pipeline import explain as story

    result = story.explain([*(text or []), *([log] if log else [])], named=bool(log))
    terminal.write_json(result) if json else terminal.write_text(show.explain(result))
    finish(bool(result["matches"]))
