"""The tools that a build stage declares: they are part of its key, so it may run no others.

`only` sets the tools of the running stage. With ROOST_UNDECLARED=refuse in the environment, as the tests set it,
`roost.host.process` raises `UndeclaredToolError` for any other tool. A wrapper counts as the command it runs; programs
of a tree are not tools of the host.
"""

from __future__ import annotations

import os
import re
import shutil
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path

VARIABLE = "ROOST_UNDECLARED"
#: Tools that do not affect the result: they remove, mount, or probe.
NEUTRAL = frozenset(
    {"cat", "cd", "chown", "chroot", "exec", "exit", "export"}
    | {"mkdir", "mktemp", "mount", "rm", "shift", "test", "true"}
)
#: Wrappers whose command follows `--`.
_WRAPPERS = frozenset({"unshare", "setpriv", "prlimit"})
_SHELLS = frozenset({"sh", "bash"})
#: Shell keywords that can precede a command.
_KEYWORDS = frozenset({"do", "else", "exec", "if", "then", "while"})

_declared: ContextVar[frozenset[str] | None] = ContextVar("declared", default=None)


class UndeclaredToolError(AssertionError):
    """A stage ran a tool that is not in its key."""


@contextmanager
def only(tools: Collection[str] | None) -> Iterator[None]:
    """Allow only these tools in the block; None lifts the restriction for work that is not part of the stage."""
    token = _declared.set(None if tools is None else frozenset(Path(tool).name for tool in tools))
    try:
        yield
    finally:
        _declared.reset(token)


def check(argv: Sequence[str], path: str) -> None:
    """Raise `UndeclaredToolError` if the running stage did not declare a tool; `path` is the tools' PATH."""
    declared = _declared.get()
    if declared is None or os.environ.get(VARIABLE) != "refuse":
        return
    undeclared = sorted(set(counted(argv, path)) - declared - NEUTRAL)
    if undeclared:
        raise UndeclaredToolError(f"{', '.join(undeclared)}: run by a stage that does not declare it ({argv})")


def counted(argv: Sequence[str], path: str) -> Iterator[str]:
    """Yield the names of the host tools that a command line runs, without wrappers and roost's own Python."""
    if not argv:
        return
    name = Path(argv[0]).name
    if argv[0] == sys.executable or re.fullmatch(r"python[\d.]*", name):
        # Of roost's own programs only `roost.host.mapped` runs a host tool: after its last `--`.
        if "roost.host.mapped" in argv and "--" in argv:
            yield from counted(argv[argv.index("--") + 1 :], path)
    elif name in _WRAPPERS:
        yield from counted(argv[argv.index("--") + 1 :], path) if "--" in argv else ()
    elif name in _SHELLS and len(argv) > 2 and argv[1] == "-c":
        yield from (word for word in _commands(argv[2]) if shutil.which(word, path=path))
        if '"$@"' in argv[2]:
            # The command follows the arguments that the script itself takes. If their number is unknown, take the first
            # argument that is a tool; this may also match an argument of the command, such as a package name.
            taken = re.search(r'\bshift (\d+) && exec "\$@"', argv[2])
            tools = (at for at in range(4, len(argv)) if shutil.which(argv[at], path=path))
            begin = 4 + int(taken[1]) if taken else next(tools, len(argv))
            yield from counted(argv[begin:], path)
    elif "/" not in argv[0] or argv[0] == shutil.which(name, path=path):
        yield name


def _commands(script: str) -> Iterator[str]:
    """Yield the first words of the commands of a shell script, except neutral ones."""
    for command in re.split(r"[;&|()\n]+", script):
        words = command.split()
        while words and (words[0] in _KEYWORDS or re.match(r"\w+=", words[0])):
            del words[0]
        if words and re.fullmatch(r"[a-z][\w.+-]*", words[0]) and words[0] not in NEUTRAL:
            yield words[0]
