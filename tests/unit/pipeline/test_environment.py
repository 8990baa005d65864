"""A wrong number in the environment ends a task before it does anything."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import HostError, UsageError
from roost.host import doctor, paths
from roost.pipeline import check, environment


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("ROOST_RUN_TIME", "banana"),
        ("ROOST_RUN_PROCESSES", "1e3"),
        ("ROOST_RUN_PROCESSES", "²"),
        ("ROOST_RUN_MEMORY", "-1GiB"),
        ("ROOST_RUN_FREE", "much"),
        ("ROOST_RUN_FILE_SIZE", "1"),
        ("ROOST_MAX_SOURCE", "banana"),
        ("ROOST_MAX_NAMES", "0"),
        ("SOURCE_DATE_EPOCH", "yesterday"),
        ("SOURCE_DATE_EPOCH", "-1"),
        ("SOURCE_DATE_EPOCH", "9" * 30),
    ],
)
def test_a_wrong_number_is_reported_at_once(monkeypatch: pytest.MonkeyPatch, variable: str, value: str) -> None:
    environment.check()
    monkeypatch.setenv(variable, value)
    with pytest.raises(UsageError, match=variable):
        check.check(["smoke"])


@pytest.mark.parametrize("variable", ["ROOST_CACHE", "ROOST_STATE"])
def test_a_cache_that_is_not_a_directory_is_reported_by_its_variable(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, variable: str
) -> None:
    named = paths.cache_root if variable == "ROOST_CACHE" else paths.state_root
    monkeypatch.setenv(variable, str(tmp_path / "new" / "one"))
    assert named() == tmp_path / "new" / "one"
    (tmp_path / "file").touch()
    for text, kind in (("/dev/null", "a device"), (str(tmp_path / "file"), "a file"), (f"{tmp_path}/file/x", "a file")):
        monkeypatch.setenv(variable, text)
        with pytest.raises(HostError, match=f"{variable}=.* is {kind}, not a directory"):
            named()


def test_doctor_says_that_the_cache_is_not_a_directory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("ROOST_CACHE", "/dev/null")
    found = {one.name: one for one in doctor.checks(tmp_path)}
    assert not found["room in the cache"].ok and "not a directory" in found["room in the cache"].seen
