"""Help: every task has a page with flags, words and examples that can be read; nothing of invoke shows."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import get_args, get_type_hints

import pytest

from roost.boot.context import How
from roost.cli import help, manual, values
from roost.cli.main import ns
from roost.cli.program import Roost
from roost.errors import UsageError
from roost.host import accelerator
from roost.recipe import start
from roost.recipe.hypervisor import Hypervisor


def shown(argv: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    with pytest.raises(SystemExit) as stop:
        Roost(name="roost", version="0", namespace=ns, binary="roost").run(["roost", *argv])
    assert stop.value.code in {0, None}
    return capsys.readouterr().out


def parse(call: str) -> list[str]:
    """Return the tasks that a command line names, as the program reads it."""
    program = Roost(name="roost", version="0", namespace=ns, binary="roost")
    program.create_config()
    program.parse_core(["roost", *call.partition(" < ")[0].split()])
    program.parse_collection()
    program.parse_tasks()
    return [str(one.name) for one in program.tasks]


def test_every_task_has_a_page() -> None:
    assert set(ns.task_names) == set(manual.PAGES)


@pytest.mark.parametrize("name", sorted(ns.task_names))
def test_the_examples_of_a_task_are_calls_of_it(name: str) -> None:
    assert manual.PAGES[name].examples
    for call, what in manual.PAGES[name].examples:
        words = call.split(" -- ")[0]
        assert parse(words)[0] in set(ns.task_names), call
        assert what
    assert any(call.split()[0] == name for call, _ in manual.PAGES[name].examples)


@pytest.mark.parametrize("name", sorted(ns.task_names))
@pytest.mark.parametrize("columns", [60, 120])
def test_a_page_says_a_word_about_every_flag_within_the_terminal(
    name: str, columns: int, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = shown(["help", name], capsys)
    assert "Docstring" not in text and "STRING" not in text
    assert text.startswith(f"usage: roost {name}")
    flags = text.partition("Flags:\n")[2].partition("\n\n")[0].splitlines()
    for line, after in pairwise([*flags, ""]):
        if line.startswith("  -"):
            assert "  " in line.strip() or after.startswith("      "), f"no word about {line}"
    calls = text.partition("Examples:\n")[2]
    wide = [line for line in text.removesuffix(calls).splitlines()[1:] if len(line) > columns]
    assert not wide


def test_the_overview_lists_every_task_once_and_is_what_a_bare_call_shows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    text = help.overview("roost")
    for name in ns.task_names:
        rows = [line for line in text.splitlines() if line.startswith("  ") and not line.startswith("   ")]
        assert sum(line.split()[0] == name for line in rows) == 1, name
    assert "More:" not in text
    for argv in ([], ["--help"], ["--list"], ["help"]):
        assert shown(argv, capsys).strip() == text.strip()


def test_the_values_of_flags_are_those_that_roost_takes() -> None:
    """The table is a text: completion loads no model."""
    assert values.CHOICES["hypervisor"] == get_args(Hypervisor)
    assert values.CHOICES["accel"] == ("auto", *get_args(accelerator.Kind))
    assert values.CHOICES["machine"] == get_args(get_type_hints(How)["machine"])
    assert values.CHOICES["distribution"] == tuple(start.DISTRIBUTIONS)


def test_help_is_json_too(capsys: pytest.CaptureFixture[str]) -> None:
    for argv in (["help", "--json"], ["--list", "--json"], ["--help", "--json"]):
        told = json.loads(shown(argv, capsys))
        assert {one["name"] for one in told["tasks"]} == set(ns.task_names), argv
    for argv in (["help", "run", "--json"], ["run", "--help", "--json"], ["help", "--json", "run"]):
        page = json.loads(shown(argv, capsys))
        assert page["name"] == "run" and page["usage"].startswith("roost run NAME"), argv
        assert {"--jobs FILE", "--local N", "--json"} <= {one["flag"] for one in page["flags"]}
        assert all(one["help"] for one in page["flags"]) and page["examples"] and page["text"]


def test_a_flag_of_one_name_has_a_value_of_another_kind_elsewhere(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--jobs N" in shown(["help", "factory"], capsys)


def test_json_is_not_a_flag_that_hides_a_wrong_call(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError, match="no such task"):
        Roost(name="roost", version="0", namespace=ns, binary="roost").run(["roost", "nothing", "--json"])


@pytest.mark.parametrize(
    ("task", "flag"),
    [
        ("repro", "--keep DIR"),
        ("gc", "--keep N"),
        ("lint", "--dag FILE"),
        ("run", "--dag DIR"),
        ("factory", "--dag DIR"),
        ("factory", "--changed-since REV"),
        ("factory", "--container IMAGE"),
        ("factory", "--publish URL"),
    ],
)
def test_the_value_of_a_flag_says_what_it_is(task: str, flag: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert flag in shown(["help", task], capsys)
