"""The one exception family: what went wrong, where, and what to do about it.

Every failure that a user can encounter is a `RoostError`. Its class determines the exit code of the task: 1 the image
or the file is at fault, 2 the call or the recipe is wrong, 3 the host lacks something.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Location:
    """A place in a text file; `line` and `column` count from 1, 0 means unknown."""

    file: str
    line: int = 0
    column: int = 0

    def __str__(self) -> str:
        """Format as compilers do, so that editors can jump to it."""
        if not self.line:
            return self.file
        return f"{self.file}:{self.line}:{self.column}" if self.column else f"{self.file}:{self.line}"


@dataclass(frozen=True, slots=True)
class Problem:
    """One mistake: what it is, its location, and how to fix it."""

    what: str
    where: Location | None = None
    hint: str | None = None

    def __str__(self) -> str:
        """Format as one line: `file:line:column: what (hint)`."""
        text = f"{self.where}: {self.what}" if self.where else self.what
        return f"{text} ({self.hint})" if self.hint else text

    def to_json(self) -> dict[str, str | int | None]:
        """Return the object for `--json`; an unknown location is None."""
        where = self.where
        return {
            "what": self.what,
            "file": where.file if where else None,
            "line": where.line if where else None,
            "column": where.column if where else None,
            "hint": self.hint,
        }


def problems_json(problems: Sequence[Problem], log: Path | None = None, tail: str = "") -> dict[str, Any]:
    """Return the object `error` of `--json`: all mistakes, the log of a tool and its last lines."""
    return {
        "problems": [problem.to_json() for problem in problems],
        "log": str(log) if log else None,
        "tail": tail,
    }


class RoostError(Exception):
    """Base of all errors shown to the user; `exit_code` is the exit status of the process."""

    exit_code = 1

    def __init__(
        self,
        what: str,
        *,
        where: Location | None = None,
        hint: str | None = None,
        log: Path | None = None,
        tail: str = "",
    ) -> None:
        super().__init__(what)
        self.problem = Problem(what, where, hint)
        self.log = log
        self.tail = tail

    @property
    def problems(self) -> Sequence[Problem]:
        """All mistakes found, at least one."""
        return (self.problem,)

    def __str__(self) -> str:
        """Format for the terminal: the problems, the tool's last lines, and where its log is."""
        lines = [str(problem) for problem in self.problems]
        if self.tail:
            lines += [f"  | {line}" for line in self.tail.splitlines()]
        if self.log:
            lines.append(f"  log: {self.log}")
        return "\n".join(lines)


class ImageError(RoostError):
    """The image, the disk or the submit description is at fault (exit code 1)."""

    exit_code = 1


class UsageError(RoostError):
    """The call is wrong (exit code 2)."""

    exit_code = 2


class SeveralProblemsError(RoostError):
    """Base of the errors that report all mistakes at once, in the order of the input."""

    def __init__(self, problems: Sequence[Problem], *, log: Path | None = None) -> None:
        super().__init__("; ".join(problem.what for problem in problems), log=log)
        self._problems = tuple(problems)

    @property
    def problems(self) -> Sequence[Problem]:
        """All mistakes found."""
        return self._problems


class RecipeError(SeveralProblemsError, UsageError):
    """One or more mistakes in recipes (exit code 2)."""


class HostError(RoostError):
    """The host lacks something that roost needs (exit code 3)."""

    exit_code = 3


class ToolError(RoostError):
    """An external tool failed, hung, or was killed; carries its log and last lines (exit code 1)."""

    def __init__(
        self,
        what: str,
        *,
        argv: Sequence[str],
        returncode: int | None,
        hint: str | None = None,
        log: Path | None = None,
        tail: str = "",
    ) -> None:
        super().__init__(what, hint=hint, log=log, tail=tail)
        self.argv = tuple(argv)
        self.returncode = returncode
