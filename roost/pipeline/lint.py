"""The story of `inv lint`: a submit description, judged by HTCondor's rules."""

from __future__ import annotations

from pathlib import Path

from roost.condor import lint as judging
from roost.condor.lint import LintReport
from roost.condor.submit.language import decode
from roost.errors import UsageError
from roost.host import files
from roost.pipeline.stdin import standard_input


def lint(file: str) -> LintReport:
    """Judge a submit description by HTCondor's rules, with the files it names at hand; `-` is standard input.

    What comes on standard input names files of the current directory.
    """
    if file == "-":
        text = decode(standard_input("a submit description"))
        return judging.lint(text, file="standard input", directory=Path.cwd())
    hint = "inv lint FILE.sub, or - for standard input"
    try:
        if (what := files.unfit(Path(file))) is not None:
            raise UsageError(f"{file} is {what}", hint=hint)
    except (FileNotFoundError, ValueError):
        raise UsageError(f"there is no file {file}", hint=hint) from None
    except OSError as error:
        raise UsageError(f"{file} cannot be read: {error.strerror}", hint=hint) from error
    return judging.lint_file(Path(file))
