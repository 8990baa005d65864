"""Command lines: names that may be left out, wrong calls with exit code 2 and a suggestion."""

from __future__ import annotations

import json
import signal
import sys
from pathlib import Path
from typing import Any

import pytest
from invoke.collection import Collection
from invoke.program import Program

from roost.cli import lastresort
from roost.cli.main import main, ns
from roost.cli.parser import WrongCallError
from roost.cli.program import Roost
from roost.cli.verb import verb
from roost.errors import ImageError, Location, Problem, RecipeError, UsageError
from roost.host.paths import project_root


def _program(seen: list[Any]) -> Program:
    @verb(rest="names")
    def check(
        _context: object,
        names: list[str] | None = None,
        depth: int = 1,
        many: list[str] | None = None,
        from_: str = "",
        json: bool = False,
    ) -> None:
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
        ("build", "build needs NAME (inv help build)"),
        ("build x --depth", "no such flag: '--depth'"),
        ("build --nope x", "no such flag: '--nope'"),
        ("check --depth x", "--depth takes a whole number, not 'x'\n"),
        ("check --depth", "--depth needs a value\n"),
        ("check --from", "--from needs a value\n"),
        ("check --many", "--many needs a value\n"),
        ("check a --many --json", "--many needs a value\n"),
    ],
)
def test_a_wrong_call_ends_with_2(argv: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    code, seen, out, err = _run(argv, capsys)
    assert (code, seen, out) == (2, [], "")
    assert said in err


@pytest.mark.parametrize(
    "argv",
    [
        "-f /nope check",
        "-T banana check",
        "-D x -l",
        "-F banana -l",
        "-l nope",
        "-e check",
        "check -e",
        "--print-completion-script nope",
        "--help nope",
        "chekc --json",
        "--json",
        "build --json",
        "build --nope --json x",
        "check --set --json",
        "collect --json --max-files x",
        "--json build smoke",
        "kernels --json doctor",
        "kernels doctor --json",
    ],
)
def test_a_wrong_call_is_not_a_bug_and_has_its_json_object(
    argv: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """invoke's options for shell commands ended in its own exceptions, and --json in an empty standard output."""
    monkeypatch.setattr(sys, "argv", ["roost", *argv.split()])
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    monkeypatch.setattr(lastresort, "drop_output", lambda: None)
    with pytest.raises(SystemExit) as stop:
        main()
    out, err = capsys.readouterr()
    assert (stop.value.code, "a bug in roost" in err, "Argument" in err) == (2, False, False), err
    assert ("--json" in argv) == bool(out)
    if out:
        assert json.loads(out)["error"]["problems"][0]["what"] in err


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        ("--json", "--json goes after the task: inv TASK --json (`inv help --json` lists the tasks)"),
        ("--json build x", "--json goes after the task: inv TASK --json (`inv help --json` lists the tasks)"),
        ("kernels doctor --json", "--json is for one task at a time, not for kernels and doctor"),
        ("kernels --json doctor", "--json is for one task at a time, not for kernels and doctor"),
    ],
)
def test_json_is_of_one_task_and_after_it(argv: str, words: str) -> None:
    program = Roost(name="roost", version="0", namespace=ns, binary="roost")
    program.create_config()
    with pytest.raises((UsageError, WrongCallError)) as wrong:
        program.parse_core(["roost", *argv.split()])
        program.parse_collection()
        program.parse_tasks()
    assert str(wrong.value).startswith(words)


def test_settings_of_invoke_are_not_read(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / ".invoke.yaml").write_text("{ broken")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("INVOKE_RUNTIME_CONFIG", "/nope")
    with pytest.raises(SystemExit) as stop:
        Roost(name="roost", version="0", namespace=ns, binary="roost").run(["roost", "--list"])
    assert stop.value.code in {0, None}
    assert "doctor" in capsys.readouterr().out


@pytest.mark.parametrize(
    "argv", ["build --help", "build -h", "build x --help", "--help build", "check --help", "help build"]
)
def test_help_of_a_task_may_stand_behind_it(argv: str, capsys: pytest.CaptureFixture[str]) -> None:
    """`build --help` once looked for a recipe of that name."""
    code, seen, out, _err = _run(argv, capsys)
    assert (code, seen) == (0, [])
    assert "--json" in out


def test_a_directory_of_recipes_is_not_a_second_task(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "build").mkdir()
    assert _run("check build x", capsys)[1] == [([], 1, False), ("x", False)]
    (tmp_path / "build" / "x.yaml").touch()
    assert _run("check build", capsys)[1] == [(["build"], 1, False)]


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
