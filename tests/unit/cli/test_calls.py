"""Messages name tasks as the user can type them."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from roost.cli import calls, show, terminal
from roost.errors import UsageError


@pytest.fixture
def checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.CALLED, "./inv")


def test_without_a_launcher_nothing_changes() -> None:
    assert calls.typed("inv boot smoke") == "inv boot smoke"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("inv boot smoke", "./inv boot smoke"),
        ("see `inv doctor`, or inv help build", "see `./inv doctor`, or ./inv help build"),
        ("./inv test, ../inv test, /opt/inv test", "./inv test, ../inv test, /opt/inv test"),
        ("inv: apt-get install", "inv: apt-get install"),
        ("my-inv list, re.inv list, inv", "my-inv list, re.inv list, inv"),
    ],
)
def test_tasks_are_named_as_they_are_called(text: str, shown: str, checkout: None) -> None:
    assert calls.typed(text) == shown


def test_a_path_is_quoted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(calls.CALLED, "../my roost/inv")
    assert calls.typed("inv boot smoke") == "'../my roost/inv' boot smoke"


@pytest.mark.parametrize("found", [True, False])
def test_the_installed_command_names_itself(found: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "roost"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    monkeypatch.setenv(calls.CALLED, "")
    monkeypatch.delenv(calls.CALLED)
    monkeypatch.setenv("PATH", str(tmp_path) if found else "/nowhere")
    calls.remember(str(tmp_path / "__main__.py"))
    assert calls.typed("inv boot smoke") == "inv boot smoke"
    calls.remember(str(program))
    assert calls.typed("inv boot smoke") == ("roost boot smoke" if found else f"{program} boot smoke")
    # What ./inv has set stays.
    monkeypatch.setenv(calls.CALLED, "./inv")
    calls.remember(str(program))
    assert calls.typed("inv boot smoke") == "./inv boot smoke"


def test_results_errors_and_tables(checkout: None, capsys: pytest.CaptureFixture[str]) -> None:
    terminal.write_text(show.table([["inv boot smoke", "test boot"], ["cd build/smoke && sh", "run it"]]))
    terminal.write_error(UsageError("no name", hint="inv boot NAME"))
    out, err = capsys.readouterr()
    first, second, *_ = out.splitlines()
    assert first.startswith("./inv boot smoke ")
    assert first.index("test boot") == second.index("run it")
    assert "(./inv boot NAME)" in err


def test_messages_in_json(checkout: None, capsys: pytest.CaptureFixture[str]) -> None:
    result = {
        **terminal.error_json(UsageError("boot needs NAME (inv help boot)", hint="inv boot NAME")),
        "problems": ["x: inv build smoke"],
        "checks": ({"fix": "inv doctor", "seen": 1, "ok": None},),
        "command": ["inv boot smoke"],
        "name": "inv boot smoke",
    }
    terminal.write_json(result)
    written = json.loads(capsys.readouterr().out)
    (problem,) = written["error"]["problems"]
    assert (problem["what"], problem["hint"]) == ("boot needs NAME (./inv help boot)", "./inv boot NAME")
    assert (written["problems"], written["checks"][0]["fix"]) == (["x: ./inv build smoke"], "./inv doctor")
    assert (written["command"], written["name"]) == (["inv boot smoke"], "inv boot smoke")
    assert list(written) == list(result) and written["checks"][0] == {"fix": "./inv doctor", "seen": 1, "ok": None}
