"""The command line parser: invoke's, extended by optional positional arguments.

Invoke cannot parse `check [NAME]` or `factory [NAMES]`: its positional arguments are always required and take one word.
`Verb` tasks name such arguments `rest`; the parse machine here gives them every word that is not a flag, a flag's value
or a task (`check recipes` names a directory of recipes if there is one). It also ends a wrong call with exit code 2 and
a suggestion. invoke creates its machine inside `Parser.parse_argv`, without an extension point, so two of its methods
are replaced: `invoke TASK` with tasks.py and the `roost` command then parse alike. This requires a pinned version of
invoke.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from typing import Any

import invoke.parser.parser
from invoke.exceptions import Exit, ParseError
from invoke.parser.argument import Argument
from invoke.parser.parser import ParseMachine
from invoke.tasks import Task

from roost.host.safetext import safe
from roost.recipe.words import near

USAGE = 2

#: Flags that also have a one-letter form, as is common.
SHORT = {"output": "o"}


#: invoke's form of a flag in messages, and the replacement.
_FLAG = re.compile(
    r"Flag <\w+: (?P<name>[^\s>]+)[^>]*> (?P<what>needed value and was not given one!|doesn't take any value!)"
)
_FLAG_WORDS = {"needed value and was not given one!": "needs a value", "doesn't take any value!": "takes no value"}


class Rest(Argument):
    """An argument that takes all remaining words: a list, empty when there are none."""

    def __init__(self, **options: Any) -> None:
        options["kind"] = list
        options["default"] = []
        super().__init__(**options)


class Verb(Task[Any]):
    """A task whose argument `rest` (a list) takes the words that are not flags."""

    rest: str | None = None

    def arg_opts(self, name: str, default: Any, taken_names: set[str]) -> dict[str, Any]:
        """Return invoke's options of an argument, with the one-letter form that some flags have."""
        options = super().arg_opts(name, default, taken_names)
        if name in SHORT:
            options["names"] = [*options["names"], SHORT[name]]
        return options

    def get_arguments(self, ignore_unknown_help: bool | None = None) -> list[Argument]:
        """Return invoke's arguments; the one named `rest` takes any number of words."""
        texts = dict(self.help)
        arguments = super().get_arguments(ignore_unknown_help)
        # invoke removes each text as it uses it: a second call would find none.
        self.help = texts
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


def _is_unknown_flag(machine: ParseMachine, token: str) -> bool:
    """Return whether a word is an unknown flag, which invoke would take for a missing positional argument."""
    context = machine.context
    if not token.startswith("-") or token == "-" or machine.ignore_unknown or machine.waiting_for_flag_value:
        return False
    return context is not None and not any(
        token in one for one in (context.flags, context.inverse_flags, _core(machine))
    )


def _core(machine: ParseMachine) -> Any:
    return machine.initial.flags if machine.initial else ()


def _asks_for_help(machine: ParseMachine, token: str) -> bool:
    context = machine.context
    if context is None or context is machine.initial or machine.current_state == "unknown":
        return False
    return token in {"--help", "-h"} and token not in context.flags and not machine.waiting_for_flag_value


def _handle(machine: ParseMachine, token: str) -> None:
    try:
        _take(machine, token)
    except ValueError:
        # invoke could not convert the value to the flag's type: all types but text are numbers.
        assert machine.flag is not None
        machine.error(f"--{machine.flag.names[0]} takes a whole number, not {token!r}")


def _take(machine: ParseMachine, token: str) -> None:
    context = machine.context
    if _is_unknown_flag(machine, token):
        machine.error(f"No idea what {token!r} is!")
    first = context is machine.initial and machine.current_state != "unknown" and machine.flag is None
    if token == "help" and first and token not in machine.contexts:
        # As in git and others: `help`, `help TASK`.
        _original_handle(machine, "--help")
        return
    if _asks_for_help(machine, token):
        assert context is not None
        # invoke does so too, but not while a positional argument is missing: `build --help` must not build `--help`.
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
        or (token in machine.contexts and not (rest is not None and (rest.value or _holds_recipes(token))))
    )
    if rest is None or wanted_elsewhere:
        _original_handle(machine, token)
    else:
        machine.complete_flag()
        machine.flag = None
        rest.value = token  # invoke's setter appends to a list argument


def _holds_recipes(token: str) -> bool:
    try:
        return any(name.endswith(".yaml") for name in os.listdir(token))  # noqa: PTH208
    except (OSError, ValueError):
        return False


class WrongCallError(ParseError, Exit):
    """An invalid command line: `Exit` for its status, `ParseError` because completion continues after one."""

    def __init__(self, words: str, context: Any) -> None:
        ParseError.__init__(self, words, context)
        self.message = None  # invoke prints a ParseError's message by itself
        self._code = USAGE

    def __str__(self) -> str:
        """Return the message alone."""
        return str(self.args[0])


def _typed(name: str) -> str:
    """Return a flag's name as it is typed: `from` for the parameter `from_`."""
    return name.replace("_", "-").strip("-")


def _error(machine: ParseMachine, message: str) -> None:
    words = _FLAG.sub(lambda found: f"--{_typed(found['name'])} {_FLAG_WORDS[found['what']]}", plain(message))
    raise WrongCallError(safe(f"{words}{_suggestion(machine, message)}"), machine.context)


def plain(message: str) -> str:
    """Return one of invoke's messages in roost's wording: the error, and for a missing word where to look."""
    if (unknown := _UNKNOWN.fullmatch(message)) is not None:
        if unknown["word"] == "--json":
            # It is a flag of each task, so it must not precede one.
            return "--json goes after the task: inv TASK --json (`inv help --json` lists the tasks)"
        kind = "flag" if unknown["word"].startswith("-") else "task"
        return f"no such {kind}: {unknown['quoted']}"
    if (lacking := _LACKING.fullmatch(message)) is not None:
        words = lacking["words"].replace("'", "").upper()
        return f"{lacking['task']} needs {words} (inv help {lacking['task']})"
    return message


def _complete_flag(machine: ParseMachine) -> None:
    flag = machine.flag
    if flag is not None and flag.kind is list and not isinstance(flag, Rest) and not machine.flag_got_value:
        # invoke accepts a repeatable flag without a value.
        machine.error(f"--{_typed(flag.names[0])} needs a value")
    _original_complete_flag(machine)


def _suggestion(machine: ParseMachine, message: str) -> str:
    unknown = _UNKNOWN.fullmatch(message)
    if unknown is None or unknown["word"] == "--json":
        return ""
    if not unknown["word"].startswith("-"):
        return _nearest(unknown["word"], [name for name in machine.contexts if isinstance(name, str)], _TASKS)
    context = machine.context
    listed = f"inv help {context.name}" if context is not None and context.name else "inv help"
    return _nearest(unknown["word"], list(context.flags) if context else [], listed)


def no_such_task(message: str, known: Iterable[str]) -> str:
    """Return the message for a task that invoke rejects outside of its parser, such as that of `--help`."""
    unknown = _UNKNOWN.fullmatch(message)
    return f"{plain(message)}{_nearest(unknown['word'], known, _TASKS) if unknown else ''}"


def _nearest(word: str, known: Iterable[str], listed: str) -> str:
    close = near(word, known)
    return f". Did you mean {close}?" if close else f" ({listed})"


#: Where the tasks are listed.
_TASKS = "`inv --list` shows the tasks"
_UNKNOWN = re.compile(r"No idea what (?P<quoted>(?P<q>['\"])(?P<word>.*)(?P=q)) is!", re.DOTALL)
_LACKING = re.compile(r"'(?P<task>[\w-]+)' did not receive required positional arguments: (?P<words>.*)")


_original_handle = ParseMachine.handle
_original_complete_flag = ParseMachine.complete_flag


def install() -> None:
    """Extend invoke's parser; safe to call twice."""
    setattr(invoke.parser.parser.ParseMachine, "handle", _handle)  # noqa: B010
    setattr(invoke.parser.parser.ParseMachine, "complete_flag", _complete_flag)  # noqa: B010
    setattr(invoke.parser.parser.ParseMachine, "error", _error)  # noqa: B010
