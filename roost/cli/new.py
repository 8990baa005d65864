"""The task `new`: a commented recipe from flags, or from a few questions on a terminal."""

from __future__ import annotations

import shlex
import sys
from dataclasses import dataclass, replace
from typing import Any

from roost.cli import terminal
from roost.cli.verb import verb
from roost.errors import UsageError


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of `new`; an empty one means the default."""

    distribution: str = ""
    package: list[str] | None = None
    hypervisor: str = ""
    io: str = ""
    memory: str = ""
    cpus: int = 1
    timeout: str = ""


@verb(
    positional=("name",),
    help={
        "distribution": "debian-12 (the default), debian-13 or ubuntu-24.04",
        "package": "a package that the job needs; may be repeated",
        "hypervisor": "kvm (the default), xen, or kvm,xen",
        "io": "the size of the io disk: input and results together; default: 256MiB",
        "memory": "the machine's memory; default: 1GiB",
        "cpus": "the machine's processors; default: 1",
        "timeout": "how long the job may take; default: 4h",
    },
)
def new(_context: object, name: str, flags: Flags, json: bool = False) -> None:
    """Write a commented recipe to start from, and an example of its job's program.

    NAME is the image's name (the recipe goes to recipes/) or the path of a recipe anywhere. Without flags, on a
    terminal, it asks. Files that exist are not replaced.
    """
    from roost.pipeline import new as story
    from roost.recipe.start import DISTRIBUTIONS, HYPERVISORS, Answers

    # A repeatable flag that is not given comes as an empty list.
    given = replace(flags, package=flags.package or None) != Flags()
    interactive = sys.stdin.isatty() and sys.stderr.isatty() and not given and not json
    target = story.target(name)
    default = Answers()
    if interactive:
        story.require_absent(target)
        answers = Answers(
            distribution=_prompt(f"distribution ({', '.join(DISTRIBUTIONS)})", "distribution"),
            packages=_prompt("packages that the job needs, separated by spaces", "packages"),
            io=_prompt("size of the io disk, for input and results", "io"),
            memory=_prompt("memory of the machine", "memory"),
            hypervisors=_prompt(f"hypervisor ({'; '.join(HYPERVISORS)})", "hypervisors"),
        )
    else:
        answers = Answers(
            flags.distribution or default.distribution,
            tuple(flags.package or ()),
            flags.hypervisor or default.hypervisors,
            flags.io or default.io,
            flags.memory or default.memory,
            flags.cpus,
            flags.timeout or default.timeout,
        )
    made = story.new(name, answers)
    if json:
        terminal.write_json(made)
        return
    called = shlex.quote(made["called"])
    steps = [f"  inv check {called}", f"  inv build {called}", f"  inv boot {called}"]
    terminal.write_text("\n".join([*made["files"], "", "next, after a look at them:", *steps]))


def _prompt(question: str, field: str) -> Any:
    """Prompt on the terminal for a field of `Answers` until the answer is valid; an empty answer is the default."""
    from roost.recipe.start import Answers

    default = getattr(Answers(), field)
    several = isinstance(default, tuple)
    while True:
        terminal.write_prompt(f"{question} [{default or 'none'}]: ")
        line = sys.stdin.readline(1000)
        if not line:
            raise UsageError("no answer", hint="inv help new: every answer can be a flag")
        answer: Any = tuple(line.split()) if several else line.strip()
        mistakes = replace(Answers(), **{field: answer}).mistakes() if answer else []
        if not mistakes:
            return answer or default
        terminal.write_prompt(f"{'; '.join(mistakes)}\n")
