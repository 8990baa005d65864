"""Variables: replaced everywhere, typed, located; recipes that declare none stay as they are."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.errors import Location, RecipeError
from roost.recipe import loader, reader
from roost.recipe.nodes import Node, Scalar
from roost.recipe.parse import parse
from roost.recipe.variables import substituted

RECIPE = """\
name: "v-{{ suite }}"
variables: {suite: bookworm, room: 64MiB, cpus: 2, loud: true}
os: {debian: {suite: "{{ suite }}", packages: [ssh]}}
description: "{{cpus}} of {{ suite }}, \\\\{{ suite }}, {{ .Go }}, {{ loud }}"
machine: {cpus: "{{ cpus }}", vnc: "{{ loud }}"}
disks:
  - {name: root, partitions: [{mount: /, free: "{{ room }}"}]}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    return tmp_path


def write(project: Path, text: str, name: str = "v") -> None:
    (project / f"recipes/{name}.yaml").write_text(text)


def problems(project: Path, text: str, *sets: str) -> list[str]:
    write(project, text)
    with pytest.raises(RecipeError) as caught:
        loader.load("v", project, sets)
    return [str(problem).removeprefix("recipes/v.yaml:") for problem in caught.value.problems]


def test_values_are_replaced_and_typed(project: Path) -> None:
    write(project, RECIPE)
    loaded = loader.load("v", project)
    recipe = loaded.recipe
    assert recipe.os.debian is not None and recipe.os.debian.suite == "bookworm"
    assert (recipe.name, recipe.machine.cpus, recipe.machine.vnc) == ("v-bookworm", 2, True)
    assert recipe.disks[0].partitions[0].free == 64 << 20
    assert recipe.description == "2 of bookworm, {{ suite }}, {{ .Go }}, true"
    assert loaded.variables == {"suite": "bookworm", "room": "64MiB", "cpus": 2, "loud": True}


def test_set_and_matrix_and_bases_change_them(project: Path) -> None:
    write(project, RECIPE)
    debian = loader.load("v", project, ["variables.suite=trixie", "variables.cpus=4"]).recipe
    assert (debian.name, debian.machine.cpus) == ("v-trixie", 4)
    (project / "recipes/m.yaml").write_text(
        "extends: v.yaml\nname: m\nmatrix: {variables.suite: [bookworm, trixie]}\nvariables: {room: 32MiB}\n"
    )
    made = {one.recipe.name: one for one in loader.load_all("m", project)}
    assert set(made) == {"m-bookworm", "m-trixie"} == set(loader.names(project)) - {"v"}
    assert made["m-trixie"].recipe.os.debian is not None
    assert made["m-trixie"].recipe.os.debian.suite == "trixie"
    assert made["m-trixie"].recipe.disks[0].partitions[0].free == 32 << 20
    assert loader.load("m-trixie", project).recipe == made["m-trixie"].recipe


def test_where_each_value_came_from(project: Path) -> None:
    write(project, RECIPE)
    rows = {row.path: row for row in loader.load("v", project, ["variables.cpus=4"]).resolved()}
    suite = rows["os", "debian", "suite"]
    assert (suite.value, str(suite.where)) == ("bookworm", "recipes/v.yaml:3:22")
    assert [str(where) for where in suite.through] == ["recipes/v.yaml:2:20"]
    assert [str(where) for where in rows["machine", "cpus"].through] == ["--set variables.cpus"]
    assert rows["os", "debian", "packages", 0].through == ()


def test_mistakes_are_located(project: Path) -> None:
    assert problems(project, RECIPE.replace('"{{ suite }}", p', '"{{ siute }}", p')) == [
        "3:22: no such variable: 'siute' (did you mean suite?)"
    ]
    assert problems(project, RECIPE.replace('"{{ room }}"', '"{{ x }}"')) == [
        "7:48: no such variable: 'x' (known: suite, room, cpus, loud; if it is to stay as it is, write \\{{ x }})"
    ]
    assert problems(project, RECIPE.replace("room: 64MiB", "room: [1]")) == [
        "2:30: a variable is a single value, found a list"
    ]
    assert problems(project, RECIPE.replace("suite: bookworm", "suite: '{{ room }}'"))[0] == (
        "2:20: a variable cannot refer to others (write the value out)"
    )
    assert "2:1: expected a mapping from names to values, found a list" in problems(
        project, RECIPE.replace("variables: {suite: bookworm, room: 64MiB, cpus: 2, loud: true}", "variables: [a]")
    )
    assert problems(project, RECIPE.replace("loud: true", "loud: true, a-b: 1")) == [
        "2:64: 'a-b' is not a valid variable name (letters, digits and _, no digit first)"
    ]
    # A value that a variable made wrong is reported where it is used.
    assert problems(project, RECIPE, "variables.cpus=0") == ["5:17: the number 0 is out of bounds (at least 1)"]
    assert "2:1: unknown key 'variable' (did you mean variables?)" in problems(
        project, RECIPE.replace("variables", "variable")
    )


def test_a_use_that_is_not_one_is_reported_where_it_makes_a_value_wrong(project: Path) -> None:
    broken = RECIPE.replace('"{{ suite }}", p', '"{{ suite }", p')
    assert broken != RECIPE
    assert any("'{{' does not begin a variable here: write {{ NAME }}" in one for one in problems(project, broken))


def test_a_recipe_without_variables_is_left_alone(project: Path) -> None:
    text = RECIPE.replace("variables: {suite: bookworm, room: 64MiB, cpus: 2, loud: true}\n", "")
    text = text.replace('"{{ suite }}"', "bookworm").replace('"{{ cpus }}"', "2").replace('"{{ loud }}"', "true")
    write(project, text.replace('"{{ room }}"', "1MiB").replace('"v-{{ suite }}"', "v"))
    assert loader.load("v", project).recipe.description == (
        "{{cpus}} of {{ suite }}, \\{{ suite }}, {{ .Go }}, {{ loud }}"
    )


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,8}", fullmatch=True)
scalars: st.SearchStrategy[Scalar] = st.one_of(
    st.booleans(), st.integers(-999, 999), st.text(max_size=12).filter(lambda text: "{{" not in text)
)
HERE = Location("x.yaml", 1, 1)


def node(value: object, line: int = 1) -> Node:
    where = Location("x.yaml", line, 1)
    if isinstance(value, dict):
        return Node({key: node(child, line + 1) for key, child in value.items()}, where, where)
    if isinstance(value, list):
        return Node(tuple(node(child, line + 1) for child in value), where)
    assert value is None or isinstance(value, str | int | float | bool)
    return Node(value, where)


trees = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3)
)


@given(st.dictionaries(names, scalars, min_size=1, max_size=4), trees)
def test_what_has_no_braces_does_not_change(variables: dict[str, Scalar], value: object) -> None:
    tree = node({"variables": variables, "body": value})
    changed, known, wrong = substituted(tree)
    assert (changed.items["body"], known, wrong) == (tree.items["body"], variables, [])


@given(st.dictionaries(names, scalars, min_size=1, max_size=4), st.data())
def test_a_whole_value_is_typed_and_a_part_is_text(variables: dict[str, Scalar], data: st.DataObject) -> None:
    name = data.draw(st.sampled_from(sorted(variables)))
    blank = data.draw(st.sampled_from(["", " ", "  "]))
    use = f"{{{{{blank}{name}{blank}}}}}"
    tree = node({"variables": variables, "whole": use, "part": f"a{use}b{use}", "kept": f"\\{use}"})
    changed, _, wrong = substituted(tree)
    value = variables[name]
    text = str(value).lower() if isinstance(value, bool) else str(value)
    assert wrong == []
    assert changed.items["whole"].value == value and type(changed.items["whole"].value) is type(value)
    assert changed.items["part"].value == f"a{text}b{text}"
    assert changed.items["kept"].value == use
    assert changed.items["whole"].where == tree.items["whole"].where
    assert "variables" not in changed.items


@given(st.text(alphabet="{}\\ ab_.\n", max_size=30))
def test_any_text_can_be_read(text: str) -> None:
    """Whatever stands in a value: it is replaced, kept, or a problem with a place; never an exception."""
    changed, _, wrong = substituted(node({"variables": {"a": "1"}, "body": text}))
    assert all(problem.where for problem in wrong)
    assert wrong or "{{a}}" not in changed.items["body"].plain() or "\\{{a}}" in text


def test_the_tree_of_a_whole_file_keeps_its_places() -> None:
    tree, _ = parse(RECIPE.encode(), "v.yaml")
    assert tree is not None
    changed, _, _ = substituted(tree)
    for path, leaf in changed.leaves():
        before = tree.find(path)
        assert before is not None and leaf.where == before.where


BIG = "x" * 400_000


@pytest.mark.parametrize(
    ("rest", "place"),
    [
        ('description: "{{ a }}{{ a }}{{ a }}"', "3:14: with its variables in place the value is larger than 1 MiB"),
        (f'run: ["{"{{a}}" * 90_000}"]', "3:7: with its variables in place the value is larger than 1 MiB"),
        (
            "run:\n" + '  - "{{ a }}"\n' * 5000,
            "45:5: with its variables in place the recipe is larger than 16 MiB",
        ),
        (
            "files:\n" + "".join(f'  - {{path: /x{n}, content: "{{{{ a }}}} "}}\n' for n in range(100)),
            "45:27: with its variables in place the recipe is larger than 16 MiB",
        ),
        (
            'users: [{name: job, ssh_keys: ["{{ a }}", "{{ a }}{{ a }}{{ a }}"]}]',
            "3:43: with its variables in place the value",
        ),
    ],
)
def test_what_variables_make_is_bounded(project: Path, rest: str, place: str) -> None:
    found = problems(project, f'name: v\nvariables: {{a: "{BIG}"}}\n{rest}\nos: {{debian: {{suite: bookworm}}}}\n')
    assert len(found) == 1
    assert found[0].startswith(place)


def test_the_images_of_a_matrix_share_the_bound(project: Path) -> None:
    text = f'name: "v-{{{{ n }}}}"\nvariables: {{a: "{BIG}", n: 1}}\ndescription: "{{{{ a }}}}"\n'
    text += f"matrix: {{variables.n: {list(range(100))}}}\nos: {{debian: {{suite: bookworm}}}}\n"
    write(project, text)
    with pytest.raises(RecipeError) as caught:
        loader.load_all("v", project)
    assert "with its variables in place the recipe is larger than 16 MiB" in str(caught.value)


def test_aliases_and_bases_are_bounded(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    head = "name: v\nos: {debian: {suite: bookworm}}\n"
    found = problems(project, f'{head}run: [&a "{BIG}", {", ".join(["*a"] * 80)}]\n')
    assert len(found) == 1 and "the recipe grows to more than 16 MiB" in found[0]
    for number in range(9):
        (project / f"recipes/b{number}.yaml").write_text(f'run: ["{BIG[:1000]}"]\n')
    text = f"{head}extends: [{', '.join(f'b{number}.yaml' for number in range(9))}]\n"
    monkeypatch.setattr(loader, "MAX_TEXT", 5000)
    found = problems(project, text)
    assert len(found) == 1 and "the recipe and its bases have more than 50000 values or " in found[0]
    monkeypatch.setattr(reader, "MAX_FILES", 5)
    assert any("the recipe has more than 5 files" in one for one in problems(project, text))


def test_many_unknown_variables_take_no_time(project: Path) -> None:
    uses = " ".join(f"{{{{ n{number} }}}}" for number in range(50_000))
    begin = time.process_time()
    assert len(problems(project, f'name: v\nvariables: {{a: 1}}\nrun: ["{uses}"]\n')) <= 110
    assert time.process_time() - begin < 10
