"""What an extra brings: the table is that of pyproject.toml, and a task that lacks one names it before it begins."""

from __future__ import annotations

import importlib.util
import tomllib
from pathlib import Path

import pytest

from roost.errors import HostError
from roost.host import extras
from roost.publish.targets.kinds import open_target

PROJECT = Path(__file__).resolve().parents[3]


def test_the_table_is_that_of_the_package() -> None:
    project = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]
    declared = project["optional-dependencies"]
    assert set(declared) == {*extras.EXTRAS, "all", "dev"}
    assert declared["all"] == [f"roost[{','.join(extras.EXTRAS)}]"]
    for name in extras.EXTRAS:
        extras.require(name)


@pytest.mark.parametrize(("url", "extra"), [("s3://bucket/x", "s3"), ("sftp://host/x", "sftp")])
def test_what_is_missing_is_named(url: str, extra: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda _name: None)
    with pytest.raises(HostError, match="is not installed") as told:
        open_target(url)
    assert f"pip install 'roost[{extra}]'" in str(told.value)
