"""The tasks: thin, each a docstring and a call. `ns` is what tasks.py and the `roost` command run."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from pathlib import Path

from invoke.collection import Collection
from invoke.exceptions import Exit, ParseError
from invoke.parser.context import ParserContext
from invoke.program import Program

import roost
from roost.cli import boot, catalogue, gc, kernels, lastresort, parser, publish, terminal
from roost.cli.jobs import collect, io
from roost.cli.verb import at_most_one, finish, verb
from roost.errors import UsageError
from roost.host import process, temporary


@verb()
def doctor(_context: object, json: bool = False) -> None:
    """Say what this host can do, and how to mend what it lacks."""
    from roost.cli import show
    from roost.pipeline import verbs

    with terminal.events() as events:
        result = verbs.doctor(events)
    terminal.write_json(result) if json else terminal.write_text(show.doctor(result))
    finish(result["ok"], 3)


@verb(rest="names")
def recipes(_context: object, names: list[str] | None = None, json: bool = False) -> None:
    """List the recipes, or those at a path or in a folder, and the state of each image: built, booted, stale."""
    from roost.cli import show
    from roost.pipeline import verbs

    result = verbs.recipes(names or [])
    terminal.write_json(result) if json else terminal.write_text(show.recipes(result))


@verb(rest="names", help={"resolved": "print the final recipe of NAME, each value with where it came from"})
def check(
    _context: object,
    names: list[str] | None = None,
    resolved: bool = False,
    set: list[str] | None = None,
    json: bool = False,
) -> None:
    """Check a recipe, or all: the recipe, its kernel and its submit descriptions. Builds nothing."""
    from roost.cli import show
    from roost.pipeline import verbs

    if resolved:
        name = at_most_one(names or [])
        if name is None:
            raise UsageError("which recipe?", hint="inv check --resolved NAME")
        values = verbs.resolved(name, set or [])
        terminal.write_json(values) if json else terminal.write_text(show.resolved(values))
        return
    result = verbs.check(names or [], set or [])
    terminal.write_json(result) if json else terminal.write_text(show.check(result))
    finish(result["ok"], 2)


@verb(help={"output": "write to this file instead of standard output"})
def schema(_context: object, output: str = "", json: bool = False) -> None:
    """Print the JSON schema of recipes, for editors; the shipped one is recipes/schema.json."""
    from roost.host import output as writing
    from roost.recipe import editor

    text = editor.text()
    if output:
        writing.write(Path(output), text.encode())
    if json:
        terminal.write_json({"schema": editor.schema(), "output": output or None})
    elif not output:
        terminal.write_text(text.rstrip("\n"))


@verb(positional=("name",), help={"force": "build even when nothing has changed"})
def build(_context: object, name: str, force: bool = False, set: list[str] | None = None, json: bool = False) -> None:
    """Build the image NAME (a recipe of recipes/, or the path of one) and its submit files."""
    from roost.cli import show
    from roost.pipeline import verbs

    with terminal.events() as events:
        result = verbs.build(name, events=events, force=force, sets=set or [])
    terminal.write_json(result.to_json()) if json else terminal.write_text(show.build(result))


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
    from roost.pipeline import publish, verbs

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
        text = verbs.submit(
            name, hypervisor=hypervisor_, transfer=transfer_, jobs=jobs_, snippet=snippet, output=output_
        )
    if json:
        terminal.write_json({"name": name, "submit": text, "output": output or None})
    elif not output:
        terminal.write_text(text)


@verb(positional=("file",))
def lint(_context: object, file: str, json: bool = False) -> None:
    """Lint the submit description FILE, or standard input (-): what HTCondor would do to it, and why."""
    from roost.pipeline import verbs

    report = verbs.lint(file)
    if json:
        terminal.write_json(report.to_json())
    else:
        terminal.write_text("\n".join(report.render()) or "nothing to say: HTCondor runs this")
    finish(report.ok)


@verb(rest="text", help={"log": "the same as FILE or -"})
def explain(_context: object, text: list[str] | None = None, log: str = "", json: bool = False) -> None:
    """Explain TEXT, a FILE or standard input (-): a hold reason, a job's log, condor_q's output; with the fix."""
    from roost.cli import show
    from roost.pipeline import verbs

    result = verbs.explain([*(text or []), *([log] if log else [])], named=bool(log))
    terminal.write_json(result) if json else terminal.write_text(show.explain(result))
    finish(bool(result["matches"]))


@verb(rest="args", help={"unit": "only the quick, pure tests"})
def test(_context: object, args: list[str] | None = None, unit: bool = False) -> None:
    """Run ruff, mypy, the unit tests and the real builds and boots. Words after -- go to pytest."""
    from roost.cli import development

    finish(development.test(args or [], unit=unit))


@verb()
def check_code(_context: object) -> None:
    """Run ruff and mypy --strict over the code."""
    from roost.cli import development

    finish(development.check_code())


@verb()
def bench(_context: object, json: bool = False) -> None:
    """Measure what building costs: cold beside mmdebstrap alone, after a change to one file, with nothing changed."""
    from roost.cli import show
    from roost.pipeline import bench as measuring

    with terminal.events() as events:
        result = measuring.run(events)
    terminal.write_json(result) if json else terminal.write_text(show.bench(result))


class Roost(Program):
    """Invoke's program with roost's tasks, and with invoke's own --list."""

    @property
    def initial_context(self) -> ParserContext:
        """Core and task flags: a bundled namespace would lose --list without this."""
        return ParserContext(args=[*self.core_args(), *self.task_args()])

    def parse_cleanup(self) -> None:
        """Do what the core flags ask for; help on a task that does not exist is a wrong call."""
        try:
            super().parse_cleanup()
        except ParseError as error:
            raise Exit(f"{error} (`inv --list` shows the tasks)", code=parser.USAGE) from error


#: The exit status of a task that a signal ended.
INTERRUPTED = 130
#: Signals that end a process unless it handles them: those of terminals, of batch systems and of the limit of CPU time.
ENDING = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGQUIT,
    signal.SIGXCPU,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGALRM,
)


def _terminate(_signal: int, _frame: object) -> None:
    """End the task: every `finally` of the main thread runs, so that processes, locks and temporary files go."""
    if process.interrupted():
        # It is ending already: a second signal must not stop the cleaning up.
        return
    process.interrupt()
    raise KeyboardInterrupt


ns = Collection(
    doctor,
    recipes,
    check,
    schema,
    build,
    boot.boot,
    submit,
    lint,
    explain,
    io,
    collect,
    test,
    check_code,
    bench,
    publish.publish,
    publish.verify,
    catalogue.catalogue,
    kernels.kernels,
    gc.gc,
)


def main() -> None:
    """Run the tasks named on the command line."""
    lastresort.open_standard_streams()
    for one in ENDING:
        # Who is started with a signal ignored (nohup) keeps it so.
        if signal.getsignal(one) is not signal.SIG_IGN:
            signal.signal(one, _terminate)
    try:
        binary = "./inv" if Path("inv").is_file() else "roost"
        Roost(name="roost", version=roost.__version__, namespace=ns, binary=binary).run()
        sys.stdout.flush()
    except BrokenPipeError:
        # Whoever read it has had enough (`| head`).
        lastresort.drop_output()
        sys.exit(1)
    except Exception as error:
        # Before or after a task: one that fails inside is told by its `verb`.
        lastresort.drop_output()
        wrong = lastresort.told(error)
        terminal.write_error(wrong)
        sys.exit(wrong.exit_code)
    finally:
        if process.interrupted():
            # Threads may still be busy with what nobody wants any more: Python would wait for them.
            temporary.clear()
            with contextlib.suppress(OSError):
                sys.stdout.flush()
                sys.stderr.flush()
            os._exit(INTERRUPTED)
