"""An interrupted run says how it goes on; the table of verdicts is no wider than the terminal."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from roost.cli import calls, run
from roost.cli.main import ns
from roost.cli.program import Roost
from roost.errors import HostError
from roost.pipeline import run as story


@pytest.mark.parametrize("planned", [True, False])
def test_an_interrupted_run_says_how_to_resume_it(
    planned: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    directory = tmp_path / "my run"
    directory.mkdir()
    if planned:
        (directory / "run.json").write_text("{}")

    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(story, "run", stopped)
    monkeypatch.setenv(calls.CALLED, "./inv")
    argv = ["roost", "run", "smoke", "--jobs", "jobs.csv", str(directory), "--local", "1"]
    with pytest.raises(SystemExit) as stop:
        Roost(name="roost", version="0", namespace=ns, binary="roost").run(argv)
    said = capsys.readouterr().err
    assert stop.value.code == 130
    assert (f"to resume: ./inv run --resume '{directory}'" in said) == planned


@pytest.mark.parametrize("begun", [True, False])
def test_a_run_that_its_host_cannot_continue_says_how_to_resume_it(
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


def job(name: str, verdict: str = "done", reason: str = "exit code 0", notes: tuple[str, ...] = ()) -> dict[str, Any]:
    return {"name": name, "verdict": verdict, "seconds": 12.0, "reason": reason, "notes": list(notes)}


def table(jobs: list[dict[str, Any]], width: int | None) -> list[str]:
    return list("\n".join(run._table(jobs, width)).splitlines())


def test_without_a_terminal_each_job_is_one_line() -> None:
    jobs = [job("a", "held", "word " * 50, ("there is no output/ on it",)), job("b")]
    assert len(table(jobs, None)) == 3
    assert table([job("a"), job("b")], 60) == table([job("a"), job("b")], None)


@pytest.mark.parametrize("width", [40, 60, 120])
def test_what_does_not_fit_stands_below_its_job(width: int) -> None:
    jobs = [job("a", "held", f"{'word ' * 50}end", ("a note " * 9,)), job("b"), job("c", "unreadable", "x" * 250)]
    lines = table(jobs, width)
    assert max(map(len, lines)) <= width
    text = " ".join(line.strip() for line in lines)
    assert text.count("word") == 50 and text.count("a note") == 9
    assert any(line.startswith("  note: a note") for line in lines)
    (line,) = (line for line in lines if line.startswith("done"))
    assert line.split() == ["done", "b", "12.0", "exit", "code", "0"]


def test_a_long_name_pushes_nothing_out_of_sight() -> None:
    lines = table([job("x" * 190), job("b")], 80)
    assert max(len(line) for line in lines if "x" not in line.removesuffix("exit code 0")) <= 80
