"""The programs that a shell command certainly runs, determined without running it. Pure."""

from __future__ import annotations

import re
import shlex

#: The length in bytes of a first line that the kernel reads (BINPRM_BUF_SIZE less its terminator).
FIRST_LINE = 255
SHELLS = frozenset({"sh", "bash", "dash", "ash"})
#: Words that may precede a program.
_BEFORE = frozenset({"exec", "command", "nohup", "time", "setsid"})
#: Words that make a program's execution conditional.
_CONDITIONAL = frozenset({"||", "!", "if", "case", "while", "until", "for", "[", "[[", "test", "trap", "function"})
_SEPARATORS = frozenset({";", "&", "&&", "|", "|&", "(", ")", "\n", "{", "}"})


def programs(command: str) -> list[tuple[str, bool]]:
    """Return the absolute paths that a shell command certainly runs, each with whether it is a shell's script."""
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
