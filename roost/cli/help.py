"""The help: the tasks grouped by purpose, and a page for each with examples.

invoke's own help lists core options that roost does not offer, and flags without a description.
"""

from __future__ import annotations

import inspect
import shutil
import textwrap
from collections.abc import Iterable, Sequence
from typing import Any

from invoke.collection import Collection
from invoke.parser.argument import Argument
from invoke.parser.context import ParserContext
from invoke.tasks import Task

from roost.cli import manual, values
from roost.cli.parser import Rest

_WIDEST, _NARROWEST = 100, 40
#: Columns of the tasks' names and words in the overview.
LEFT = 24
_CODES = {
    "0": "all is well",
    "1": "the image or file is at fault",
    "2": "the call or recipe is wrong",
    "3": "the host lacks something",
}


def overview(program: str) -> str:
    """Return the page of all tasks, by group."""
    lines = [
        "roost: disk images for HTCondor's vm universe",
        "",
        f"usage: {program} TASK [WORD...] [--FLAG...]",
    ]
    for group in manual.GROUPS:
        rows = [
            (" ".join((name, page.words)).strip(), page.summary)
            for name, page in manual.PAGES.items()
            if page.group == group
        ]
        lines += ["", f"{group}:", *_columns(rows, LEFT)]
    lines += [
        "",
        *_wrapped(f"`{program} help TASK` shows a task's flags and examples. Every task takes --json."),
        *_wrapped(f"Exit codes: {', '.join(f'{code} {what}' for code, what in _CODES.items())}."),
    ]
    return "\n".join(lines)


def page(collection: Collection, context: ParserContext, program: str) -> str:
    """Return the page of one task."""
    name = str(context.name)
    task = collection[name]
    known = manual.PAGES[name]
    paragraphs = _paragraphs(task)
    lines = [f"usage: {_usage(program, name)}"]
    for paragraph in paragraphs:
        lines += ["", *_wrapped(paragraph)]
    rows = flags(context)
    if rows:
        lines += ["", "Flags:", *_columns(rows, _widest(rows, 26))]
    calls = [(f"{program} {call}", what) for call, what in known.examples]
    lines += ["", "Examples:", *_columns(calls, _widest(calls, 44))]
    return "\n".join(lines)


def overview_json(program: str) -> dict[str, Any]:
    """Return the content of `overview` as JSON: the tasks with their words, their group and a one-line description."""
    tasks = [
        {"name": name, "words": page.words, "group": page.group, "summary": page.summary}
        for group in manual.GROUPS
        for name, page in manual.PAGES.items()
        if page.group == group
    ]
    return {"usage": f"{program} TASK [WORD...] [--FLAG...]", "tasks": tasks, "exit_codes": _CODES}


def page_json(collection: Collection, context: ParserContext, program: str) -> dict[str, Any]:
    """Return the content of `page` as JSON: usage, text, flags as they are typed, examples."""
    name = str(context.name)
    known = manual.PAGES[name]
    return {
        "name": name,
        "group": known.group,
        "summary": known.summary,
        "usage": _usage(program, name),
        "text": _paragraphs(collection[name]),
        "flags": [{"flag": flag, "help": what} for flag, what in flags(context)],
        "examples": [{"call": f"{program} {call}", "what": what} for call, what in known.examples],
    }


def _usage(program: str, name: str) -> str:
    return f"{' '.join((program, name, manual.PAGES[name].words)).strip()} [--FLAG...]"


def _paragraphs(task: Task[Any]) -> list[str]:
    return [" ".join(one.split()) for one in inspect.cleandoc(task.body.__doc__ or "").split("\n\n")]


def flags(context: ParserContext) -> list[tuple[str, str]]:
    """Return the flags of a task as they are typed, each with its description."""
    named = {id(one) for one in context.positional_args}
    found = [one for one in _arguments(context) if id(one) not in named and not isinstance(one, Rest)]
    return [(_flag(one, str(context.name)), one.help or "") for one in sorted(found, key=_long)]


def _arguments(context: ParserContext) -> Iterable[Argument]:
    seen = {id(one): one for one in context.args.values()}
    return seen.values()


def _long(argument: Argument) -> str:
    return max(argument.names, key=len).replace("_", "-").strip("-")


def _flag(argument: Argument, task: str) -> str:
    """Return a flag as it is typed: `-o, --output FILE`."""
    name = _long(argument)
    short = [f"-{one}" for one in argument.names if len(one) == 1]
    words = ", ".join([*short, f"--{name}"])
    if not argument.takes_value:
        return words
    known = values.VALUES.get(f"{task} {name}") or values.VALUES.get(name)
    value = known or ("N" if argument.kind is int else name.upper())
    return f"{words} {value}"


def width() -> int:
    """Return the width of the terminal, limited to a readable range."""
    return max(_NARROWEST, min(_WIDEST, shutil.get_terminal_size().columns))


def _wrapped(text: str, indent: str = "") -> list[str]:
    return textwrap.wrap(
        text, width(), initial_indent=indent, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


def _widest(rows: Sequence[tuple[str, str]], most: int) -> int:
    return min(most, max(len(first) for first, _ in rows))


def _columns(rows: Sequence[tuple[str, str]], left: int) -> list[str]:
    """Return two columns, the first `left` wide.

    If the text is wider, or the terminal narrow, the second column goes on separate lines.
    """
    room = width() - left - 4
    lines = []
    for first, second in rows:
        if room < 30:
            lines += [f"  {first}", *_wrapped(second, " " * 6)]
            continue
        texts = textwrap.wrap(second, room, break_long_words=False, break_on_hyphens=False) or [""]
        if len(first) > left:
            lines.append(f"  {first}")
        else:
            lines.append(f"  {first:<{left}}  {texts.pop(0)}".rstrip())
        lines += [f"{'':<{left + 4}}{text}" for text in texts]
    return lines
