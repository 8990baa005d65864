"""SOURCE_DATE_EPOCH of the environment."""

from __future__ import annotations

import pytest

from roost.host import source_date


@pytest.mark.parametrize(
    ("written", "given"), [("1767225600", 1767225600), ("0", 0), ("", None), ("x", None), ("²", None), ("9" * 30, None)]
)
def test_a_number_of_seconds_or_nothing(monkeypatch: pytest.MonkeyPatch, written: str, given: int | None) -> None:
    monkeypatch.setenv(source_date.VARIABLE, written)
    assert source_date.given() == given


def test_an_environment_without_it_gives_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(source_date.VARIABLE, raising=False)
    assert source_date.given() is None
