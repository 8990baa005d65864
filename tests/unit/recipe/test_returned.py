"""The disks that come back where a recipe does not say which."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import RecipeError
from roost.recipe import loader
from roost.recipe.model import Recipe
from tests.unit.submitting import submit_description

BASE = """\
os: {debian: {suite: bookworm}}
job: {command: "true"}
disks:
  - {name: root, partitions: [{mount: /, free: 64MiB}]}
  - {name: results, filesystem: vfat, size: 64MiB, role: io}
"""


def load(directory: Path, text: str, *sets: str) -> Recipe:
    """Load a recipe of a few lines over the base."""
    (directory / "base.yaml").write_text(BASE)
    (directory / "sim.yaml").write_text(f"name: sim\nextends: [base.yaml]\n{text}")
    return loader.load(directory / "sim.yaml", directory, sets).recipe


@pytest.mark.parametrize(
    ("text", "returned"),
    [
        ("", ("results",)),
        ("submit: {}\n", ("results",)),
        ("submit: {transfer: 'osdf:///pool/images', margin: 1h}\n", ("results",)),
        ("submit: {return_as: {results: 'out/$(Cluster).raw'}}\n", ("results",)),
        # What is written is meant.
        ("submit: {return: []}\n", ()),
        ("submit: {return: !replace []}\n", ()),
        ("submit: {return: [root]}\n", ("root",)),
        ("submit: {return: [root, results]}\n", ("root", "results")),
        ("submit: {no_output: true}\n", ()),
        ("job: null\ndisks: !replace [{name: root, partitions: [{mount: /, free: 64MiB}]}]\n", ()),
        ("disks: !replace [{name: root, partitions: [{mount: /, free: 64MiB}]}]\n", ()),
    ],
)
def test_the_io_disk_comes_back_unless_the_recipe_says_what_does(
    text: str, returned: tuple[str, ...], tmp_path: Path
) -> None:
    recipe = load(tmp_path, text)
    assert recipe.submit.returns == returned
    description = submit_description(recipe, "kvm")
    if returned:
        files = ",".join(f"{name}.raw" for name in returned)
        assert f"transfer_output_files = {files}" in " ".join(description.split())
        assert "transfer_output_remaps" in description
    elif not recipe.submit.no_output:
        assert 'transfer_output_files = ""' in " ".join(description.split())


def test_bases_and_set_are_asked_first(tmp_path: Path) -> None:
    (tmp_path / "none.yaml").write_text("submit: {return: []}\n")
    recipe = load(tmp_path, "")
    assert recipe.submit.returns == ("results",)
    (tmp_path / "sim.yaml").write_text("name: sim\nextends: [base.yaml, none.yaml]\n")
    assert loader.load(tmp_path / "sim.yaml", tmp_path).recipe.submit.returns == ()
    assert load(tmp_path, "", "submit.return=[]").submit.returns == ()
    assert load(tmp_path, "", "submit.return=[root]").submit.returns == ("root",)
    assert load(tmp_path, "", "submit.no_output=true").submit.returns == ()


BAD_NAME = """\
disks: !replace
  - {name: root, filesystem: ext4, mount: /, size: 9MiB}
  - {name: a b, filesystem: vfat, role: io}
"""


@pytest.mark.parametrize(
    ("text", "problems"),
    [
        ("submit: {return_as: {root: a.raw}}\n", ["the disk 'root' is not one of `return`, so it gets no name"]),
        ("submit: {no_output: true, return_as: {results: a.raw}}\n", ["is not one of `return`"]),
        # One mistake is one complaint.
        ("submit: {returns: [results]}\n", ["returns"]),
        ("submit: {no_ouput: true}\n", ["no_ouput"]),
        ("submit: [io]\n", ["expected a mapping"]),
        ("submit: {return: {a: b}}\n", ["expected a list"]),
        (BAD_NAME, ["'a b'"]),
    ],
)
def test_the_default_adds_no_mistake_of_its_own(text: str, problems: list[str], tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        load(tmp_path, text)
    found = [problem.what for problem in caught.value.problems]
    assert len(found) == len(problems), found
    for one, words in zip(found, problems, strict=True):
        assert words in one
