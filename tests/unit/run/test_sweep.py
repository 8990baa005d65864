"""Sweeps: what their files say, what is wrong with them, and the tables that they become."""

from __future__ import annotations

import itertools
import shlex
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from roost.condor.jobs_file import Jobs
from roost.errors import RecipeError, UsageError
from roost.recipe import loader
from roost.run import sweep as sweeps
from roost.run import table as tables
from roost.run.sweep import Sweep

EXAMPLE = """\
axes:
  platform: [el9, debian-12, ubuntu-24.04]
  source: [geant4, root, clhep, fluka]
  set: [a, b, c, d, e, f, g]
"""


def table(text: str, directory: Path = Path("/nowhere")) -> Jobs:
    return tables.expand(sweeps.read(text.encode(), "sweep.yaml"), "sweep.yaml", directory)


def problems(text: str) -> list[str]:
    with pytest.raises(RecipeError) as caught:
        table(text)
    return [str(problem) for problem in caught.value.problems]


def test_the_product_of_the_axes() -> None:
    found = table(EXAMPLE)
    assert found.variables == ("platform", "source", "set", "name")
    assert len(found.rows) == 84
    assert found.rows[0] == ("el9", "geant4", "a", "el9-geant4-a")
    assert found.rows[-1] == ("ubuntu-24.04", "fluka", "g", "ubuntu-24.04-fluka-g")


def test_what_is_excluded() -> None:
    found = table(EXAMPLE + "exclude:\n  - {platform: el9, set: [f, g]}\n  - {source: fluka}\n")
    left = {row[:3] for row in found.rows}
    assert len(found.rows) == len(left) == 3 * 3 * 7 - 3 * 2
    assert not any(row[1] == "fluka" or (row[0] == "el9" and row[2] in "fg") for row in left)


def test_templates_see_the_axes_and_everything_stays_as_it_is_written() -> None:
    found = table(
        "axes: {version: [1.10, 0755, yes, 1e3], n: [2]}\n"
        'name: "v{{ version }}"\n'
        'inputs: [common/, "data/{{ version }} x.txt", "{% if version == \'yes\' %}more{% endif %}"]\n'
        'variables: {scale: 0.50, twice: "{{ n | int * 2 }}"}\n'
    )
    assert found.variables == ("version", "n", "scale", "twice", "inputs", "name")
    assert [row[0] for row in found.rows] == ["1.10", "0755", "yes", "1e3"]
    assert {row[2:4] for row in found.rows} == {("0.50", "4")}
    assert [shlex.split(row[4]) for row in found.rows][1:3] == [
        ["common/", "data/0755 x.txt"],
        ["common/", "data/yes x.txt", "more"],
    ]
    assert found.rows[0][-1] == "v1.10"


def test_the_image_may_be_an_axis() -> None:
    found = table("axes: {image: [debian-12, ./my/el9.yaml], n: [1, 2]}\n")
    assert found.image == "image"
    assert [row[-1] for row in found.rows] == ["debian-12-1", "debian-12-2", "el9-1", "el9-2"]
    assert table(EXAMPLE).image is None


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("axis: {a: [1]}\n", ["sweep.yaml:1:1: unknown key 'axis' (did you mean axes?)", "1:1: there are no axes"]),
        ("axes: {a: [1]}\nexlude: []\n", ["sweep.yaml:2:1: unknown key 'exlude' (did you mean exclude?)"]),
        ("axes: {}\n", ["expected axes with their values, found a mapping"]),
        ("axes: [a]\n", ["1:1: expected axes with their values, found a list"]),
        ("axes: {a: 1}\n", ["1:11: expected the values of the axis a, found the number 1"]),
        ("axes: {a: []}\n", ["expected the values of the axis a, found no values"]),
        ("axes: {a: [1, 1]}\n", ["1:15: the value '1' is given twice"]),
        ("axes: {a: [1, [2]]}\n", ["1:15: expected a value, found a list"]),
        ("axes: {a: [1, ~]}\n", ["1:15: expected a value, found nothing"]),
        ("axes: {a b: [1]}\n", ["1:8: 'a b' is not a valid variable name"]),
        ("axes: {vm_memory: [1]}\n", ["1:8: a variable vm_memory would be taken for condor_submit's own vm_memory"]),
        ("axes: {a: [1]}\nvariables: {A: 2}\n", ["2:13: two columns are named A: names are not case-sensitive"]),
        ("axes: {a: [1]}\nvariables: {a: 2}\n", ["2:13: 'a' is an axis already"]),
        ("axes: {a: [1]}\nvariables: {image: x}\n", ["2:13: 'image' cannot be a variable"]),
        ("axes: {name: [1]}\n", ["1:8: 'name' cannot be an axis"]),
        ("axes: {a: [1]}\nexclude: [{b: 1}]\n", ["2:12: no such axis: 'b'"]),
        ("axes: {a: [one, two]}\nexclude: [{a: tow}]\n", ["2:15: the axis a has no value 'tow' (did you mean two?)"]),
        ("axes: {a: [1]}\nexclude: [{a: 1}]\n", ["1:1: every job is excluded"]),
        ("axes: {a: [1]}\nexclude: {a: 1}\n", ["2:1: expected a list of combinations"]),
        ("axes: {a: [1]}\ninputs: {a: 1}\n", ["2:1: expected a list of inputs"]),
        ("axes: {a: [1]}\ninputs: [{{ a }}]\n", ["(a template goes in quotes", "a list or mapping cannot"]),
        ('axes: {axis: [1]}\nname: "{{ axsi }}"\n', ["2:7: 'axsi' is undefined, for axis=1 (did you mean axis?)"]),
        ('axes: {a: [1]}\nname: "{{ a"\n', ["2:7: unexpected end of template"]),
        ("", ["the sweep is empty"]),
        ("- a\n", ["a sweep is a mapping"]),
        ("axes: {a: [1]\n", ["sweep.yaml"]),
    ],
)
def test_every_mistake_has_its_place(text: str, said: list[str]) -> None:
    found = problems(text)
    assert len(found) == len(said)
    for one, other in zip(found, said, strict=True):
        assert other in one


def test_all_mistakes_are_reported_at_once() -> None:
    found = problems("axes: {a: [1, 1], b: 2}\nvariables: [x]\nexclude: [{c: 1}]\nmore: 1\n")
    assert [one.split(":")[1] for one in found] == ["1", "1", "2", "3", "4"]


@pytest.mark.parametrize("count", [100_001, 1_000_001])
def test_the_number_of_jobs_is_bounded(count: int) -> None:
    axes = {10: 317, 11: 1001}[len(str(count)) + 4]
    text = f"axes: {{a: {list(range(axes))}, b: {list(range(-(-count // axes)))}}}\n"
    assert "more than" in problems(text)[0]


def test_the_words_of_a_template_engine_are_put_right() -> None:
    assert problems('axes: {a: [1]}\nname: "{{ a|nofilter }}"\n')[0].endswith(
        "2:7: No filter named 'nofilter', for a=1"
    )
    assert (
        "2:7: a template cannot include or import another"
        in problems("axes: {a: [1]}\nname: \"{% include 'x' %}\"\n")[0]
    )


@pytest.mark.parametrize(
    "template",
    [
        "{% for i in range(99999) %}{% for j in range(99999) %}x{% endfor %}{% endfor %}",
        "{{ 'x' * 100000 }}",
        "{{ ''.__class__.__mro__ }}",
        "{{ a.b.c }}",
        "{% include '/etc/passwd' %}",
    ],
)
@pytest.mark.timeout(60)
def test_hostile_templates_are_stopped(template: str) -> None:
    assert "2:7: " in problems(f'axes: {{a: [1, 2]}}\nname: "{template}"\n')[0]


def test_what_all_templates_make_is_bounded() -> None:
    values = list(range(1000))
    text = f"axes: {{a: {values}}}\nvariables: {{x: \"{{{{ 'x' * 60000 }}}}\"}}\n"
    assert "32 MiB in all" in problems(text)[0]


values = st.text(st.characters(min_codepoint=33, max_codepoint=126, exclude_characters="{}'"), min_size=1, max_size=6)
axes = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]), st.lists(values, min_size=1, max_size=4, unique=True), min_size=1, max_size=4
)


@given(axes, st.data())
def test_the_jobs_are_the_product_without_what_is_excluded(
    chosen: Mapping[str, list[str]], data: st.DataObject
) -> None:
    some = data.draw(st.lists(st.sampled_from(sorted(chosen)), unique=True, max_size=2))
    excluded = {name: frozenset(data.draw(st.sets(st.sampled_from(chosen[name]), min_size=1))) for name in some}
    sweep = Sweep({name: tuple(one) for name, one in chosen.items()}, (excluded,) if excluded else ())
    found = set(sweep.combinations())
    for row in itertools.product(*chosen.values()):
        out = bool(excluded) and all(
            dict(zip(chosen, row, strict=True))[name] in some for name, some in excluded.items()
        )
        assert (row in found) is not out


def quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


@given(axes)
def test_any_value_survives(chosen: Mapping[str, list[str]]) -> None:
    text = "axes:\n" + "".join(f"  {name}: [{', '.join(map(quoted, some))}]\n" for name, some in chosen.items())
    found = table(text)
    assert [row[:-1] for row in found.rows] == list(itertools.product(*chosen.values()))


def test_a_file_is_read_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "jobs.yml").write_text("axes: {n: [1, 2]}\n")
    (tmp_path / "jobs.csv").write_text("n\n1\n")
    assert len(tables.read(tmp_path / "jobs.yml").rows) == 2
    assert len(tables.read(tmp_path / "jobs.csv").rows) == 1
    for name in ("absent.yaml", "."):
        with pytest.raises((UsageError, RecipeError)):
            tables.read(tmp_path / name)


RECIPE = """\
name: sim
os: {tree: {path: root}}
job: {command: ./run}
disks:
  - {name: root, partitions: [{mount: /, filesystem: ext4}]}
  - {name: io-2, filesystem: ext4, size: 16MiB, format: raw, role: io}
"""


def test_the_jobs_of_one_image_get_a_disk_each(tmp_path: Path) -> None:
    (tmp_path / "root").mkdir()
    (tmp_path / "sim.yaml").write_text(RECIPE)
    recipe = loader.load(tmp_path / "sim.yaml", tmp_path).recipe
    path = tmp_path / "sweep.yaml"
    path.write_text("axes: {image: [sim, other], n: [1, 2]}\n")
    found = tables.for_image(tables.read(path), "sim", recipe)
    assert found.variables == ("image", "n", "name", "io2")
    assert [row[-1] for row in found.rows] == ["sim-1.raw", "sim-2.raw"]
    path.write_text("axes: {image: [simm, other], n: [1, 2]}\n")
    with pytest.raises(RecipeError, match="no job runs on sim"):
        tables.for_image(tables.read(path), "sim", recipe)
    # A CSV file says itself what its disks are called.
    path = tmp_path / "jobs.csv"
    path.write_text("name,n\na,1\n")
    assert tables.for_image(tables.read(path), "sim", recipe).variables == ("name", "n")


def test_the_example_of_the_guide_is_what_it_says() -> None:
    guide = (Path(__file__).parents[3] / "docs" / "jobs.md").read_text()
    text = guide.partition("```yaml\n")[2].partition("```")[0]
    assert text.startswith("axes:") and len(text.splitlines()) <= 30
    found = table(text)
    assert len(found.rows) == 84 - 7 - 2 * 2 * 3
    assert found.image == "image"
