"""The steps of `inv lint`: a submit description, checked by HTCondor's rules."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from roost.condor import dag_lint
from roost.condor import lint as judging
from roost.condor.lint import LintReport
from roost.condor.rules.model import shown
from roost.condor.submit.description import Variable
from roost.condor.submit.language import decode
from roost.condor.submit.source_text import Traced
from roost.errors import Location, UsageError
from roost.host import causes, files
from roost.pipeline.stdin import standard_input

_SET = Location("--set", 1, 1)
_OF_A_NODE = [Variable(name, Traced.of("0", _SET, fixed=True, unknown=True)) for name in ("JOB", "RETRY")]


def lint(file: str | None, sets: Sequence[str] = (), dag: str | None = None) -> LintReport:
    """Check a submit description by HTCondor's rules, with access to the files it names; `-` is standard input.

    File names on standard input are relative to the current directory. `sets` are `NAME=VALUE`, as VARS would set them.
    With `dag`, or a file with extension `.dag`, the descriptions of all nodes of a DAG are checked, or only the nodes
    of `file`.
    """
    variables = [_variable(setting) for setting in sets]
    if dag is None and file is not None and file.endswith(".dag"):
        file, dag = None, file
    if dag is not None:
        return dag_lint.lint_dag(_readable(dag), only=_readable(file) if file else None, also=variables)
    if not file:
        raise UsageError("which file?", hint="inv lint FILE.sub, inv lint --dag FILE.dag, or - for standard input")
    # With VARS, the node's name and attempt are set as well, to unknown values.
    given = [*_OF_A_NODE, *variables] if sets else None
    if file == "-":
        text = decode(standard_input("a submit description"))
        return judging.lint(text, file="standard input", directory=Path.cwd(), variables=given)
    if file.endswith((".yaml", ".yml")):
        raise UsageError(f"{_readable(file)} is a recipe, not a submit description", hint=f"inv check {file}")
    return judging.lint_file(_readable(file), variables=given)


def _variable(setting: str) -> Variable:
    name, equals, value = setting.partition("=")
    name = name.strip()
    if not equals or not re.fullmatch(r"(?:\+|[Mm][Yy]\.)?[A-Za-z0-9_.]+", name):
        raise UsageError(f"--set {shown(setting)} is not NAME=VALUE", hint="such as --set serial=001")
    if not value.isprintable():
        raise UsageError(f"the value of --set {shown(name)} is not one line of printable characters")
    return Variable(name, Traced.of(value, Location(f"--set {name}", 1, 1), fixed=True))


def _readable(file: str) -> Path:
    hint = "inv lint FILE.sub, or - for standard input"
    try:
        if (what := files.unfit(Path(file))) is not None:
            raise UsageError(f"{file} is {what}", hint=hint)
    except (FileNotFoundError, ValueError):
        raise UsageError(f"no such file: '{file}'", hint=hint) from None
    except OSError as error:
        raise UsageError(files.unreadable(file, error), hint=causes.hint(error) or hint) from error
    return Path(file)
