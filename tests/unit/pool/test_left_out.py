"""Which calls of pytest have the tests of a real pool, and which say that they leave them out."""

from __future__ import annotations

import pytest

from tests.pool.left_out import HERE, asked, notice

ROOT = HERE.parents[1]


@pytest.mark.parametrize("arguments", [["tests"], ["."], ["tests/unit", "tests"], [str(ROOT)]])
def test_a_call_for_all_says_what_it_leaves_out(arguments: list[str]) -> None:
    said = notice(arguments, ROOT)
    assert said is not None and said.startswith("tests/pool is left out: it needs root")
    assert not asked(arguments, ROOT)


@pytest.mark.parametrize("arguments", [["tests/pool"], ["tests", "tests/pool"], ["tests/pool/test_jobs.py::test_x"]])
def test_they_run_when_they_are_named(arguments: list[str]) -> None:
    assert asked(arguments, ROOT) and notice(arguments, ROOT) is None


@pytest.mark.parametrize("arguments", [["tests/unit"], ["tests/unit/pool"], ["tests/images/test_boot.py"]])
def test_a_call_for_others_says_nothing(arguments: list[str]) -> None:
    assert notice(arguments, ROOT) is None and not asked(arguments, ROOT)


def test_a_call_from_elsewhere() -> None:
    assert asked(["pool"], ROOT / "tests") and notice([".."], HERE) is not None
