"""The page of the tasks: the calls, words, flags and examples of `roost help TASK`."""

from __future__ import annotations

import inspect

from docs.generate.markdown import head, prose, row
from roost.cli import help, manual
from roost.cli.main import ns

_INTRO = """\
# The tasks

Made from roost's command line by `python -m docs.generate`. The same text is on the terminal: `./inv` alone lists the
tasks, `./inv help TASK` shows one. In a checkout the command is `./inv TASK`; an installed roost has `roost TASK`, and
the guides write `inv TASK` for both.

NAME is a recipe of recipes/, or the path of a recipe anywhere. A value follows its flag after a blank or `=`. With
`--json` a task writes one JSON object to standard output and its progress to standard error; a call has one such task.
[Exit codes](exit-codes.md) are the same for all tasks.

Completion with the Tab key, for tasks, flags and their values, recipes and versions; the line belongs into the start
file of the shell:

    source <(./inv --print-completion-script bash)      # or zsh; fish: ./inv --print-completion-script fish | source
"""


def page() -> str:
    """Return the page: a section for each task, in the groups and the order of `roost help`."""
    contexts = {str(one.name): one for one in ns.to_contexts()}
    lines = [_INTRO]
    for group in manual.GROUPS:
        lines += [f"## {group}", ""]
        for name, known in manual.PAGES.items():
            if known.group != group:
                continue
            lines += [f"### inv {name}", "", f"    inv {name} {known.words}".rstrip() + " [--FLAG...]", ""]
            for paragraph in inspect.cleandoc(ns[name].body.__doc__ or "").split("\n\n"):
                lines += [prose(" ".join(paragraph.split())), ""]
            rows = help.flags(contexts[name])
            if rows:
                lines += [*head("flag", "what it does"), *(row(f"`{flag}`", prose(what)) for flag, what in rows), ""]
            width = max(len(call) for call, _ in known.examples)
            lines += [f"    inv {call:<{width}}  # {what}" for call, what in known.examples] + [""]
    return "\n".join(lines)
