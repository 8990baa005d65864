"""Command lines: names that may be left out, wrong calls with exit code 2 and a suggestion."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.program import Program

from roost.cli.verb import verb
from roost.errors import ImageError, Location, Problem, RecipeError
from roost.host.paths import project_root


def _program(seen: list[Any]) -> Program:
    @verb(rest="names")
    def check(_context: object, names: list[str] | None = None, depth: int = 1, json: bool = False) -> None:
        seen.append((names, depth, json))

    @verb(positional=("name",))
    def build(_context: object, name: str, json: bool = False) -> None:
        seen.append((name, json))
        if name == "broken":
            raise RecipeError([Problem("what", Location("a.yaml", 2, 3), "hint"), Problem("other")])
        if name == "bad":
            raise ImageError("bad image")

    return Program(namespace=Collection(check, build), version="0")


def _run(argv: str, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[Any], str, str]:
    seen: list[Any] = []
    code = 0
    try:
        _program(seen).run(["roost", *argv.split()])
    except SystemExit as stop:
        code = int(stop.code or 0)
    captured = capsys.readouterr()
    return code, seen, captured.out, captured.err


@pytest.mark.parametrize(
    ("argv", "expected"),
    [
        ("check", [([], 1, False)]),
        ("check a", [(["a"], 1, False)]),
        ("check a b c", [(["a", "b", "c"], 1, False)]),
        ("check --depth 3 a --json b", [(["a", "b"], 3, True)]),
        ("check --json", [([], 1, True)]),
        ("check build x", [([], 1, False), ("x", False)]),
        ("check a build", [(["a", "build"], 1, False)]),
        ("build check --json", [("check", True)]),
        ("check -", [(["-"], 1, False)]),
        ("build -", [("-", False)]),
        ("check help", [(["help"], 1, False)]),
        ("build help", [("help", False)]),
    ],
)
def test_words_and_flags(argv: str, expected: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    code, seen, _out, _err = _run(argv, capsys)
    assert (code, seen) == (0, expected)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ("chekc", "Did you mean check?"),
        ("check --jsno", "Did you mean --json?"),
        ("build", "did not receive required positional arguments: 'name'"),
        ("build x --depth", "No idea what '--depth' is!"),
    ],
)
def test_a_wrong_call_ends_with_2(argv: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, seen, out, err = _run(argv, capsys)
    assert (code, seen, out) == (2, [], "")
    assert said in err


@pytest.mark.parametrize(
    "argv", ["build --help", "build -h", "build x --help", "--help build", "check --help", "help build"]
)
def test_help_of_a_task_may_stand_behind_it(argv: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`build --help` once looked for a recipe of that name."""
    code, seen, out, _err = _run(argv, capsys)
    assert (code, seen) == (0, [])
    assert "--json" in out


def test_errors_become_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    code, _seen, out, err = _run("build broken", capsys)
    assert (code, out) == (2, "")
    assert err == "a.yaml:2:3: what (hint)\nother\n"
    assert _run("build bad", capsys)[0] == 1


def test_errors_with_json_are_one_object(capsys: pytest.CaptureFixture[str]) -> None:
    code, _seen, out, err = _run("build broken --json", capsys)
    answer = json.loads(out)
    assert code == 2
    assert answer["ok"] is False
    assert answer["error"]["problems"][0] == {
        "what": "what",
        "file": "a.yaml",
        "line": 2,
        "column": 3,
        "hint": "hint",
    }
    assert "a.yaml:2:3" in err


def test_the_project_is_found_from_below(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "kernels").mkdir()
    (tmp_path / "deep" / "er").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "deep" / "er")
    assert project_root() == tmp_path


def test_outside_of_a_project_the_environment_names_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOST_ROOT", "/somewhere")
    assert project_root() == Path("/somewhere")
