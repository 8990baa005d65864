"""The reference: fresh, complete, and each of its examples is a valid recipe."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import get_args

import pytest

from docs.generate import recipe, words
from docs.generate.pages import REFERENCE, pages
from roost.boot.verdict import Cause
from roost.boot.watch import Phase
from roost.cli.main import ns
from roost.condor.rules import ALL
from roost.recipe.quantities import parse_duration, parse_size
from roost.store.manifest import BuiltFile, Manifest
from tests.documented import PROJECT, Bench

VARIABLE = re.compile(r"(?<![A-Z_])ROOST_[A-Z_]*[A-Z](?![A-Z_])")


@pytest.mark.parametrize("name", sorted(pages()))
def test_a_page_is_what_the_code_says(name: str) -> None:
    fresh = (REFERENCE / name).read_text() == pages()[name]
    assert fresh, "the code changed: `python -m docs.generate` writes docs/reference again"


def test_there_are_no_other_pages() -> None:
    assert {path.name for path in REFERENCE.iterdir()} == set(pages())


def test_every_key_of_a_recipe_has_an_example() -> None:
    shown = set().union(*(recipe.paths(text) for _, text in recipe.examples()))
    assert [key.path for key in recipe.every_key() if key.path not in shown] == []


def test_sizes_are_not_shown_as_times() -> None:
    keys = {key.path: key for key in recipe.every_key()}
    assert (keys["machine.memory"].value, keys["machine.memory"].default) == ("size", "`1GiB`")
    assert keys["boot_test.expect.size.min"].value == "size"
    assert (keys["boot_test.timeout"].value, keys["job.timeout"].value) == ("time", "time")
    parsers = {"size": parse_size, "time": parse_duration}
    shown = [key for key in keys.values() if key.value in parsers and key.default.startswith("`")]
    assert len(shown) > 3
    for key in shown:
        parsers[key.value](key.default.strip("`"))


def test_times_that_emulation_makes_longer_say_so() -> None:
    keys = {key.path: key for key in recipe.every_key()}
    for path in ("boot_test.timeout", "boot_test.expect.within"):
        assert "multiplied" in keys[path].what and "emulation" in keys[path].what


def test_every_example_is_shown() -> None:
    page = recipe.page()
    assert [text for _, text in recipe.examples() if text not in page] == []


@pytest.mark.parametrize("number", range(len(recipe.examples())))
def test_an_example_is_a_valid_recipe(number: int, tmp_path: Path) -> None:
    assert Bench(tmp_path).problems(recipe.examples()[number][1]) == []


def test_an_example_with_a_mistake_is_found(tmp_path: Path) -> None:
    bench = Bench(tmp_path)
    assert bench.problems("machine: {memoryy: 1GiB}\n")
    assert bench.problems("disks: !replace []\n")
    assert bench.problems(recipe.HEAD.replace("bookworm", "[]"))


def test_every_task_and_code_is_on_its_page() -> None:
    tasks, codes = pages()["tasks.md"], pages()["lint.md"]
    assert [name for name in ns.task_names if f"### inv {name}\n" not in tasks] == []
    assert [code for code in ALL if f"| `{code}` |" not in codes] == []


def test_causes_phases_and_keys_of_the_manifest_are_those_of_the_code() -> None:
    assert set(words.CAUSES) == set(get_args(Cause))
    assert set(words.PHASES) == set(get_args(Phase))
    own = {one.name for one in fields(Manifest)} | {f"files[].{one.name}" for one in fields(BuiltFile)}
    assert set(words.MANIFEST) == own


def test_every_environment_variable_is_described() -> None:
    """What the code reads or sets; shown examples of keys of CI services are no variables of roost."""
    used: set[str] = set()
    for path in [PROJECT / "inv", *(PROJECT / "roost").rglob("*")]:
        if path.is_file() and path.suffix != ".pyc":
            used |= set(VARIABLE.findall(path.read_text()))
    assert used == set(words.ENVIRONMENT), "docs/generate/words.py has a line for each"
