"""Whether the finished image can run the recipe's programs: the program, its `#!` line, its interpreter.

At this point everything that packages or run commands brought is known; what a command, first_boot or cloud-init makes
only when the machine runs is not, and is not judged. For what the kernel does with each file see execve(2).
"""

from __future__ import annotations

import stat
from collections.abc import Iterator, Sequence

from roost.host import executable
from roost.host.guestfs import Guest
from roost.recipe.command_words import programs
from roost.recipe.model import Recipe
from roost.recipe.words import shown
from roost.verify.texts import Wrong, head

#: env(1)'s search path: the runner's PATH, in order (roost/guest).
PATH = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")


def check(guest: Guest, recipe: Recipe) -> Iterator[str]:
    """Yield what keeps the job's program, or that of the first first_boot command, from starting."""
    if recipe.cloud_init is not None:
        return
    if recipe.first_boot:
        # Its effect on the job's program is only seen at the first boot.
        yield from _command(guest, recipe.first_boot[0], "the first_boot command", ("first_boot", 0))
    elif recipe.job is not None:
        yield from _command(guest, recipe.job.command, "the job", ("job", "command"))


def _command(guest: Guest, command: str, who: str, key: tuple[str | int, ...]) -> Iterator[str]:
    found = programs(command)
    # Earlier commands of a line may create the later programs.
    if not found or not command.lstrip().startswith((found[0][0], f"exec {found[0][0]}")):
        return
    path = found[0][0]
    wrong = _program(guest, path)
    if wrong:
        yield Wrong(f"{who} runs {shown(path)}, which {wrong}", key)


def _program(guest: Guest, path: str) -> str | None:
    begin = head(guest, path, 4096) or b""
    return _runs(guest, path) or executable.foreign(begin) or _loader(guest, begin) or _first_line(guest, begin)


def _loader(guest: Guest, begin: bytes) -> str | None:
    """Return an error if the image lacks a program's dynamic loader, which the kernel reports as "not found"."""
    path = executable.loader(begin)
    wrong = _runs(guest, path) if path is not None and path.startswith("/") else None
    return None if wrong is None else f"is a dynamic program that needs {shown(path or '')}, which {wrong}"


def _first_line(guest: Guest, begin: bytes) -> str | None:
    """Return why the kernel cannot start a script with this beginning, or None."""
    line = begin.partition(b"\n")[0]
    if b"\0" in line or b"\0" in begin[:4]:
        return None
    if begin.startswith(b"\xef\xbb\xbf#!"):
        return "begins with a byte order mark: the kernel sees no #! in it"
    if line.endswith(b"\r"):
        return "has a first line that ends in CR"
    if line.startswith(b"#!") and (apart := executable.one_word(line.decode("utf-8", "replace"))):
        return f"has a first line that {shown(apart, 200)}"
    words = line[2:].decode("utf-8", "replace").split() if line.startswith(b"#!") else []
    return _interpreter(guest, words) if words and words[0].startswith("/") else None


def _interpreter(guest: Guest, words: Sequence[str]) -> str | None:
    wrong = _runs(guest, words[0])
    if wrong is not None:
        return f"needs {shown(words[0])}, which {wrong}"
    if words[0].endswith("/env"):
        named = next((word for word in words[1:] if not word.startswith("-") and "=" not in word), "")
        if named and "/" not in named and not any(_runs(guest, f"{directory}/{named}") is None for directory in PATH):
            return f"needs {shown(named)}, which is not in the image"
    return None


def _runs(guest: Guest, path: str) -> str | None:
    """Return why a file cannot run, or None."""
    seen = guest.stat(path)
    if seen is None:
        return "is not in the image"
    if not stat.S_ISREG(seen.mode):
        return "is not a file"
    return None if seen.mode & 0o111 else "cannot be executed"
