"""The exception family: what a user reads, and the exit code."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.condor.hardware import HypervisorRefusalError
from roost.errors import Location, Problem, RecipeError, SeveralProblemsError
from roost.kernel.check import KernelRefusalError
from roost.verify.readback import ReadBackError


@pytest.mark.parametrize(
    ("kind", "code"), [(RecipeError, 2), (HypervisorRefusalError, 1), (KernelRefusalError, 1), (ReadBackError, 1)]
)
def test_all_problems_are_shown(kind: type[SeveralProblemsError], code: int) -> None:
    problems = (Problem("no root", Location("a.yaml", 3, 1)), Problem("no kernel", hint="add one"))
    error = kind(problems, log=Path("/tmp/x.log"))
    assert error.problems == problems
    assert error.exit_code == code
    assert str(error) == "a.yaml:3:1: no root\nno kernel (add one)\n  log: /tmp/x.log"
