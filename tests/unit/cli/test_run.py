"""An interrupted run says how it goes on."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.cli.main import ns
from roost.cli.program import Roost
from roost.errors import HostError
from roost.pipeline import run as story


@pytest.mark.parametrize("planned", [True, False])
def test_an_interrupted_run_says_how_it_goes_on(
    planned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "my run"
    directory.mkdir()
    if planned:
        (directory / "run.json").write_text("{}")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(story, "run", stopped)
    argv = ["roost", "run", "smoke", "--jobs", "jobs.csv", str(directory), "--local", "1"]
    with pytest.raises(SystemExit) as stop:
        Roost(name="roost", version="0", namespace=ns, binary="roost").run(argv)
    said = capsys.readouterr().err
    assert stop.value.code == 130
    assert (f"inv run --resume '{directory}'" in said) == planned


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_its_host_cannot_carry_on_says_how_it_goes_on(
    begun: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "run.json").write_text("{}")
    (tmp_path / "state.jsonl").write_text("{}\n" * begun)

    def full(*_: object, **__: object) -> None:
        raise HostError("no space left on the disk")

    monkeypatch.setattr(story, "run", full)
    argv = ["roost", "run", "smoke", "--jobs", "jobs.csv", str(tmp_path), "--local", "1"]
    with pytest.raises(SystemExit) as stop:
        Roost(name="roost", version="0", namespace=ns, binary="roost").run(argv)
    assert stop.value.code == 3
    assert ("inv run --resume" in capsys.readouterr().err) == begun
