"""The tasks for a job's own disk: `io` before the job, `collect` after it."""

from __future__ import annotations

from pathlib import Path

from roost.cli import quantity, terminal
from roost.cli.verb import finish, verb
from roost.errors import UsageError
from roost.host.output import is_standard_output
from roost.recipe.words import shown


@verb(
    rest="words",
    help={
        "output": "the disk to write; default: the name of the recipe's io disk, here; not with --jobs",
        "jobs": "a CSV file or a sweep (.yaml): a disk a row, beside that file; the column `inputs` names what goes in",
    },
)
def io(
    _context: object,
    words: list[str] | None = None,
    output: str = "",
    jobs: str = "",
    set: list[str] | None = None,
    json: bool = False,
) -> None:
    """Make a job's io disk for NAME, with the INPUTs in it.

    Puts files and directories into its input/ (DIRECTORY/ stands for what is in it); with --jobs, onto every disk.
    """
    from roost.pipeline import jobs as story

    if not words:
        raise UsageError("which recipe?", hint="inv io NAME INPUT... --output io.raw")
    with terminal.events() as events:
        made = story.io(
            words[0],
            words[1:],
            events=events,
            output=Path(output) if output else None,
            jobs=Path(jobs) if jobs else None,
            sets=set or [],
        )
    if json:
        terminal.write_json(made.to_json())
        return
    if output and is_standard_output(Path(output)):
        return  # the disk itself went to standard output
    shown = [f"{disk.path}" for disk in made.disks[:8]]
    more = [f"... {len(made.disks) - 8} more"] if len(made.disks) > 8 else []
    terminal.write_text("\n".join([*shown, *more]))


@verb(
    rest="words",
    help={
        "max-files": "at most N files and directories from one disk",
        "max-size": "the most to take from one disk, log and output, such as 2GiB; default: the disk's size",
    },
)
def collect(
    _context: object, words: list[str] | None = None, max_files: int = 100_000, max_size: str = "", json: bool = False
) -> None:
    """Extract status, log and output from DISKs that came back, into DIR. Exits 0 if all is done and was extracted."""
    from roost.pipeline import jobs as story

    if max_files < 0:
        raise UsageError(f"--max-files takes a number of at least 0, not {max_files}")
    size = quantity.size("--max-size", max_size)
    with terminal.events() as events:
        result = story.collect_all(words or [], events=events, most=max_files, size=size)
    if json:
        terminal.write_json(result)
    else:
        lines, notes = [], []
        for one in result["disks"]:
            name = shown(one["disk"], 500)
            lines.append(f"{one['verdict']:<14} {name}  {one['why']}")
            notes += [f"               {name}: {note}" for note in one["notes"]]
        counts = ", ".join(f"{count} {verdict}" for verdict, count in sorted(result["counts"].items()))
        made = any(one["folder"] for one in result["disks"])
        where = f"in {result['folder']}" if made else f"nothing is in {result['folder']}"
        terminal.write_text("\n".join([*lines, *notes, f"{counts}; {where}"]))
    finish(result["ok"], 3 if result["host_fault"] else 1)
