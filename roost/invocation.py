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

USAGE = 2


class Rest(Argument):
    """An argument that takes all words nobody else wants: a list, empty when there are none."""

    def __init__(self, **options: Any) -> None:
        options["kind"] = list
        options["default"] = []
        super().__init__(**options)


class Verb(Task[Any]):
    """A task whose argument `rest` (a list) takes the words that are no flags."""

    rest: str | None = None

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


def _handle(machine: ParseMachine, token: str) -> None:
    rest = _rest(machine)
    wanted_elsewhere = (
        machine.current_state == "unknown"
        or machine.waiting_for_flag_value
        or token.startswith("-")
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
    raise Exit(f"{message}{_suggestion(machine, message)}", code=USAGE)


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
    close = difflib.get_close_matches(word, known, 1)
    return f" Did you mean {close[0]}?" if close else f" ({listed})"


_original_handle = ParseMachine.handle


def install() -> None:
    """Teach invoke's parse machine; safe to call twice."""
    setattr(invoke.parser.parser.ParseMachine, "handle", _handle)  # noqa: B010
    setattr(invoke.parser.parser.ParseMachine, "error", _error)  # noqa: B010
