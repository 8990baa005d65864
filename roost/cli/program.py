"""Invoke's program adapted to roost: few options before the task, wrong calls as roost's own errors, no settings files.

invoke's options for tasks that run shell commands (--echo, --pty, --config, ~/.invoke.yaml ...) have no effect here, so
they are not offered and settings files are not read.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager

from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.parser.parser import Parser
from invoke.program import Program

from roost.cli import completion, help, parser, terminal
from roost.errors import UsageError
from roost.host.safetext import safe

#: The options before a task. Other options of invoke keep their defaults.
OFFERED = ("complete", "help", "list", "print-completion-script", "version")


class Roost(Program):
    """Invoke's program with roost's tasks, and with invoke's own --list."""

    #: Whether help is requested as JSON.
    json = False

    @property
    def initial_context(self) -> ParserContext:
        """The options before a task: those in `OFFERED` as flags, all of them as values that invoke reads."""
        every = [*self.core_args(), *self.task_args()]
        context = ParserContext(args=[_plain(one) for one in every if one.names[0] in OFFERED])
        for one in every:
            if one.names[0] not in OFFERED:
                context.args[one.names[0]] = one
        return context

    def create_config(self) -> None:
        """Use invoke's defaults: its settings files could only break the tasks."""
        self.config = self.config_class(lazy=True)

    def update_config(self, merge: bool = True) -> None:
        """Read no settings file, including one named by an environment variable."""

    def parse_core(self, argv: list[str] | None) -> None:
        """Read the options before the first task. Help takes --json as tasks do, in any position."""
        words = list(sys.argv if argv is None else argv)
        self.json = wants_json(words[1:]) and _asks_for_help(words[1:])
        compiled_only_here = sys.dont_write_bytecode
        with _wrong_calls():
            super().parse_core([one for one in words if one != "--json"] if self.json else words)
        # invoke suppresses __pycache__ next to tasks.py; here every call would then compile the tasks again.
        sys.dont_write_bytecode = compiled_only_here

    def parse_core_args(self) -> None:
        """Read them, and print a shell's script: invoke would print its own, for a program called __main__.py."""
        super().parse_core_args()
        shell = self.args["print-completion-script"].value
        if shell:
            terminal.write_text(completion.script(shell), whole=True)
            raise Exit

    def _make_parser(self) -> Parser:
        """Return the parser of the tasks: invoke copies all options of all tasks, so only named tasks get theirs."""
        names = self.collection.task_names
        named = [name for name in names if any(name in word for word in self.argv)]
        contexts = [
            ParserContext(name, names[name], self.collection[name].get_arguments() if name in named else ())
            for name in names
        ]
        return Parser(initial=self.initial_context, contexts=contexts)

    def parse_tasks(self) -> None:
        """Read the tasks and their options."""
        with _wrong_calls():
            super().parse_tasks()
        if len(self.tasks) > 1 and any("json" in one.args and one.args["json"].value for one in self.tasks):
            names = " and ".join(str(one.name) for one in self.tasks)
            what = f"--json is for one task at a time, not for {names}: standard output has one JSON object"
            raise UsageError(what, hint=f"inv {self.tasks[0].name} ... --json, then the next")

    def parse_cleanup(self) -> None:
        """Act on the core flags; help on a task that does not exist is a wrong call."""
        if self.args.complete.value:
            terminal.write_text("\n".join(completion.candidates(self.collection, self.core.remainder)), whole=True)
            raise Exit
        with _wrong_calls(self.collection.task_names):
            super().parse_cleanup()

    def print_help(self) -> None:
        """Show the tasks grouped by purpose."""
        if self.json:
            terminal.write_json(help.overview_json(self.binary))
        else:
            terminal.write_text(help.overview(self.binary))

    def list_tasks(self) -> None:
        """Show the same as `print_help`: there is only one list."""
        self.print_help()

    def print_task_help(self, name: str) -> None:
        """Show the page of a task."""
        context = self.parser.contexts[name]
        if self.json:
            terminal.write_json(help.page_json(self.collection, context, self.binary))
        else:
            terminal.write_text(help.page(self.collection, context, self.binary))


def _plain(argument: Argument) -> Argument:
    """Return an option; --list without its value, since roost's tasks have no groups."""
    if argument.names[0] != "list":
        return argument
    return Argument(names=argument.names, kind=bool, default=False, help="List the tasks.")


@contextmanager
def _wrong_calls(tasks: Iterable[str] = ()) -> Iterator[None]:
    """Raise `UsageError` for what invoke cannot parse."""
    try:
        yield
    except ParseError as error:
        what = str(error)
        raise UsageError(safe(parser.no_such_task(what, tasks) if what.startswith("No idea") else what)) from error


def _asks_for_help(words: Sequence[str]) -> bool:
    """Return whether a command line with --json asks for help."""
    own = list(words[: words.index("--")] if "--" in words else words)
    given = [one for one in own if one != "--json"]
    return given[:1] in (["help"], ["--list"], ["-l"]) or bool({"--help", "-h"} & set(given))


def wants_json(argv: Sequence[str] | None = None) -> bool:
    """Return whether a command line asks for JSON: errors before the task begins are JSON too."""
    words = list(sys.argv[1:] if argv is None else argv)
    return "--json" in words[: words.index("--")] if "--" in words else "--json" in words
