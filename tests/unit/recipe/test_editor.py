"""recipes/schema.json: fresh, takes every shipped recipe, and shows an editor what is wrong."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from roost.recipe import editor
from roost.recipe.merge import EXTENDS, MATRIX, VARIABLES
from roost.recipe.parse import parse
from roost.recipe.schema import homes, keys

PROJECT = Path(__file__).resolve().parents[3]
RECIPES = sorted((PROJECT / "recipes").rglob("*.yaml"))


@pytest.fixture(scope="module")
def validator() -> jsonschema.Draft202012Validator:
    shipped = json.loads((PROJECT / "recipes/schema.json").read_text())
    jsonschema.Draft202012Validator.check_schema(shipped)
    return jsonschema.Draft202012Validator(shipped)


def plain(text: str) -> Any:
    tree, problems = parse(text.encode(), "x.yaml")
    assert tree is not None and not problems, problems
    return tree.plain()


def test_the_shipped_schema_is_fresh() -> None:
    fresh = (PROJECT / "recipes/schema.json").read_text() == editor.text()
    assert fresh, "the model changed: `inv schema --output recipes/schema.json` writes it again"


@pytest.mark.parametrize("path", RECIPES, ids=lambda path: path.stem)
def test_shipped_recipes_are_valid_and_name_it(path: Path, validator: jsonschema.Draft202012Validator) -> None:
    text = path.read_text()
    found = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
    assert found and (path.parent / found[1]).resolve() == PROJECT / "recipes/schema.json"
    assert list(validator.iter_errors(plain(text))) == []


WHOLE = """\
extends: [base/x.yaml]
name: all
variables: {suite: bookworm, n: 2}
matrix: {variables.suite: [bookworm, trixie], machine: {small: {memory: 1GiB}}}
os:
  debian:
    suite: "{{ suite }}"
    snapshot: 20261101T000000Z
    repositories: [{uri: "https://h/d", suite: ./, key: k.asc, keep: false}]
run: ["true", {command: "true", network: true}]
first_boot: ["true"]
cloud_init: {user_data: {packages: [a]}, meta_data: {a: 1}, network_config: net.yaml}
seal: false
users: [{name: a, password: {env: HASH}}]
files: [{path: /a, content: "", mode: "0755"}]
machine: {cpus: "{{ n }}", memory: 1073741824}
job: {command: x, timeout: 1.5}
disks: !replace
  - {name: root, partitions: [{mount: /, free: 64MiB}]}
boot_test:
  {timeout: 2min, evict: auto, inputs: [a, b/],
   expect: [{file: /x, size: {min: 1}}, {failed_units: none}, {memory_free: 1MiB}]}
"""


def test_everything_that_a_recipe_may_say_is_taken(validator: jsonschema.Draft202012Validator) -> None:
    assert list(validator.iter_errors(plain(WHOLE))) == []


@pytest.mark.parametrize(
    ("before", "after", "where"),
    [
        ("name: all", "name: all\nnmae: x", []),
        ('mode: "0755"', "mode: 0755", ["files", 0, "mode"]),
        ("cpus: \"{{ n }}\"", "cpus: two", ["machine", "cpus"]),
        ("key: k.asc, ", "", ["os", "debian", "repositories", 0]),
        ("mount: /, free", "mount: relative, free", ["disks", 0, "partitions", 0, "mount"]),
        ("evict: auto", "evict: maybe", ["boot_test", "evict"]),
        ("n: 2}", "n: [2]}", ["variables", "n"]),
        ("snapshot: 20261101T000000Z", "snapshot: yesterday", ["os", "debian", "snapshot"]),
    ],
)  # fmt: skip
def test_mistakes_are_seen_by_an_editor(
    before: str, after: str, where: list[str | int], validator: jsonschema.Draft202012Validator
) -> None:
    assert before in WHOLE
    errors = list(validator.iter_errors(plain(WHOLE.replace(before, after, 1))))
    assert len(errors) == 1
    # In a part that may be left out, the mistake is one of several reasons; editors show the nearest, too.
    best = jsonschema.exceptions.best_match(errors)
    assert list(best.absolute_path) == where


def test_it_has_every_key_of_the_model_and_of_the_loader() -> None:
    made = editor.schema()
    assert set(made["properties"]) == {*keys(()), EXTENDS, MATRIX, VARIABLES}
    known = {key for body in (made, *made["$defs"].values()) for key in body.get("properties", {})}
    assert set(homes()) <= known


def test_descriptions_are_the_models_own_words() -> None:
    debian = editor.schema()["$defs"]["Debian"]["properties"]
    assert debian["snapshot"]["description"] == "A time such as 20261101T000000Z: the archive as it was then."
    assert "security archive" in debian["mirror"]["description"]
