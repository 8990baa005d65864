"""How roost's command lines are read: invoke's parser, with names that may be left out.

Invoke cannot parse `check [NAME]` or `factory [NAMES]`: there a positional argument is always required and
takes one word. `Verb` tasks name such arguments `rest`; the parse machine here gives them every word that is
neither a flag nor its value nor a task. It also ends a wrong call with exit code 2 and a suggestion.
invoke makes its machine inside `Parser.parse_argv`, with no seam, so two of its methods are replaced:
`invoke TASK` with tasks.py and the `roost` command then read alike. The exact version of invoke is pinned for it.
"""

from __future__ import annotations

import difflib
from typing import Any

import invoke.parser.parser
from invoke.exceptions import Exit
from invoke.parser.argument import Argument
from invoke.parser.parser import ParseMachine
from invoke.tasks import Task

from roost.host.safetext import safe

USAGE = 2

#: Flags that have one letter too, as they have everywhere.
SHORT = {"output": "o"}


class Rest(Argument):
    """An argument that takes all words nobody else wants: a list, empty when there are none."""

    def __init__(self, **options: Any) -> None:
        options["kind"] = list
        options["default"] = []
        super().__init__(**options)


class Verb(Task[Any]):
    """A task whose argument `rest` (a list) takes the words that are no flags."""

    rest: str | None = None

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return invoke's options of an argument, with the one-letter flag that some have."""
        options = super().arg_opts(name, default, taken_names)
        if name in SHORT:
            options["names"] = [*options["names"], SHORT[name]]
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return invoke's arguments, the one named `rest` made to take any number of words."""
        arguments = super().get_arguments(ignore_unknown_help)
        return [
            Rest(names=argument.names, help=argument.help, attr_name=argument.attr_name)
            if argument.name == self.rest
            else argument
            for argument in arguments
        ]


def _rest(machine: ParseMachine) -> Rest | None:
    if machine.context is None:
        return None
    return next((value for value in machine.context.args.values() if isinstance(value, Rest)), None)


def _asks_for_help(machine: ParseMachine, token: str) -> bool:
    context = machine.context
    if context is None or context is machine.initial or machine.current_state == "unknown":
        return False
    return token in {"--help", "-h"} and token not in context.flags and not machine.waiting_for_flag_value


def _handle(machine: ParseMachine, token: str) -> None:
    context = machine.context
    first = context is machine.initial and machine.current_state != "unknown" and machine.flag is None
    if token == "help" and first and token not in machine.contexts:
        # As git and others have it: `help`, `help TASK`.
        _original_handle(machine, "--help")
        return
    if _asks_for_help(machine, token):
        assert context is not None
        # invoke does so too, but not where a name is still to come: `build --help` is no build of `--help`.
        machine.initial.flags["--help"].value = context.name
        for argument in context.positional_args:
            if argument.value is None:
                argument.value = ""
        return
    rest = _rest(machine)
    wanted_elsewhere = (
        machine.current_state == "unknown"
        or machine.waiting_for_flag_value
        or (token.startswith("-") and token != "-")
        or (machine.context is not None and machine.context.missing_positional_args)
        or (token in machine.contexts and (rest is None or not rest.value))
    )
    if rest is None or wanted_elsewhere:
        _original_handle(machine, token)
    else:
        machine.complete_flag()
        machine.flag = None
        rest.value = token  # invoke's setter appends to a list argument


def _error(machine: ParseMachine, message: str) -> None:
    raise Exit(safe(f"{message}{_suggestion(machine, message)}"), code=USAGE)


def _suggestion(machine: ParseMachine, message: str) -> str:
    word = message.removeprefix("No idea what ").removesuffix(" is!").strip("'\"")
    if word == message:
        return ""
    if word.startswith("-"):
        known = list(machine.context.flags) if machine.context else []
        listed = "see --help TASK"
    else:
        known = [name for name in machine.contexts if isinstance(name, str)]
        listed = "`inv --list` shows the tasks"
    close = difflib.get_close_matches(word, [one for one in known if one != word], 1)
    return f" Did you mean {close[0]}?" if close else f" ({listed})"


_original_handle = ParseMachine.handle


def install() -> None:
    """Teach invoke's parse machine; safe to call twice."""
    setattr(invoke.parser.parser.ParseMachine, "handle", _handle)  # noqa: B010
    setattr(invoke.parser.parser.ParseMachine, "error", _error)  # noqa: B010
