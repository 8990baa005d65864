"""Which programs a shell command runs for sure, told without running it. Pure."""

from __future__ import annotations

import re
import shlex

#: Bytes of a first line that the kernel reads (BINPRM_BUF_SIZE less its end).
FIRST_LINE = 255
SHELLS = frozenset({"sh", "bash", "dash", "ash"})
#: Words before a program that leave it the program.
_BEFORE = frozenset({"exec", "command", "nohup", "time", "setsid"})
#: A command with any of these may be meant to live with a program that does not run.
_CONDITIONAL = frozenset({"||", "!", "if", "case", "while", "until", "for", "[", "[[", "test", "trap", "function"})
_SEPARATORS = frozenset({";", "&", "&&", "|", "|&", "(", ")", "\n", "{", "}"})


def programs(command: str) -> list[tuple[str, bool]]:
    """Return the absolute paths that a shell command surely runs, each with whether it is a shell's script."""
    if any(mark in command for mark in ("$(", "`", "<<")):
        return []
    lexer = shlex.shlex(command, posix=True, punctuation_chars=True)
    lexer.commenters = ""
    try:
        words = list(lexer)
    except ValueError:
        return []
    if _CONDITIONAL.intersection(words):
        return []
    found = []
    first = True
    for index, word in enumerate(words):
        if word in _SEPARATORS:
            first = True
        elif first and not re.match(r"[A-Za-z_]\w*=", word) and word not in _BEFORE:
            first = False
            if re.fullmatch(r"/[\w./+-]+", word):
                found.append((word, False))
            follows = words[index + 1] if index + 1 < len(words) else ""
            if word.rpartition("/")[2] in SHELLS and re.fullmatch(r"/[\w./+-]+", follows):
                found.append((follows, True))
    return found
