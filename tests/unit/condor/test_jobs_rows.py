"""Where a description refers to the columns of a file of jobs."""

from __future__ import annotations

import re
import time

from hypothesis import given
from hypothesis import strategies as st

from roost.condor import jobs_rows


def _by_counting(value: str) -> dict[str, set[str]]:
    """Count the quotes before each reference anew."""
    found: dict[str, set[str]] = {}
    for reference in re.finditer(r"\$[A-Za-z_]*\(([^()]*)", value):
        quoted = len(re.findall(r'(?<!\\)"', value[: reference.start()])) % 2
        for word in re.findall(r"[A-Za-z_][A-Za-z0-9_]*", reference[1]):
            found.setdefault(word.lower(), set()).add("quoted" if quoted else "bare")
    return found


@given(st.text(alphabet='$(a) b"\\,', max_size=40))
def test_whether_a_reference_is_quoted(value: str) -> None:
    found = jobs_rows.uses([f"arguments ={value}"])
    assert {name: set(where) for name, where in found.items()} == _by_counting(value)


def test_time_is_in_proportion_to_a_line() -> None:
    begin = time.process_time()
    found = jobs_rows.uses(["arguments = " + '"$(a)" ' * 150_000, "x = " + "$(" * 500_000, " " * 1_000_000 + "$(b)"])
    assert found["a"] == {"quoted"}
    assert time.process_time() - begin < 10
