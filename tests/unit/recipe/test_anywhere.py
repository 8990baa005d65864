"""Recipes outside of the project: shipped bases, their own build/, and what the hints call them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.cli.terminal import PlainEvents
from roost.errors import RecipeError, UsageError
from roost.host import paths
from roost.pipeline import boot, build, check, rebuild, recipes, released, submit
from roost.recipe import loader
from roost.store import manifest

PROJECT = Path(__file__).resolve().parents[3]
SIM = """\
extends: [base/debian.yaml]
name: sim
os: {debian: {suite: bookworm}}
job: {command: "true"}
"""


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a directory with two directories, each with a recipe of one name.

    The current one, ROOST_ROOT is the project.
    """
    for name in ("my", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "sim.yaml").write_text(SIM)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOST_ROOT", str(PROJECT))
    return tmp_path


@pytest.mark.parametrize("given", ["my/sim.yaml", "./my/sim.yaml", "my/sim", "./my/sim"])
def test_a_shipped_base_is_found_from_anywhere(given: str, elsewhere: Path) -> None:
    loaded = loader.load(given, PROJECT)
    assert [disk.name for disk in loaded.recipe.disks] == ["root", "io"]
    assert loaded.build == elsewhere / "my/build/sim"
    assert loaded.called == "my/sim.yaml"


def test_without_a_project_too(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("ROOST_ROOT")
    assert paths.project_root() == elsewhere
    assert check.check(["my/sim.yaml"])["ok"]


def test_what_lies_beside_comes_first(elsewhere: Path) -> None:
    (elsewhere / "my/base").mkdir()
    (elsewhere / "my/base/debian.yaml").write_text((PROJECT / "recipes/base/debian-minimal.yaml").read_text())
    assert [disk.name for disk in loader.load("my/sim.yaml", PROJECT).recipe.disks] == ["root"]


def test_two_recipes_of_one_name_have_two_directories(elsewhere: Path) -> None:
    found = {loader.load(f"{name}/sim.yaml", PROJECT).build for name in ("my", "other")}
    assert found == {elsewhere / "my/build/sim", elsewhere / "other/build/sim"}
    own = loader.load("smoke", PROJECT)
    assert (own.build, own.called) == (PROJECT / "build/smoke", "smoke")
    assert loader.load(PROJECT / "recipes/smoke.yaml", PROJECT).build == own.build


def test_a_recipe_in_the_current_directory(elsewhere: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(elsewhere / "my")
    loaded = loader.load("sim.yaml", PROJECT)
    assert (loaded.build, loaded.called) == (elsewhere / "my/build/sim", "./sim.yaml")


def test_a_misspelt_base_has_a_near_name(elsewhere: Path) -> None:
    (elsewhere / "my/sim.yaml").write_text(SIM.replace("debian.yaml", "debain.yaml"))
    with pytest.raises(RecipeError) as caught:
        loader.load("my/sim.yaml", PROJECT)
    assert str(caught.value.problems[0].hint) == "did you mean base/debian.yaml?"


def test_a_matrix_is_called_by_its_images(elsewhere: Path) -> None:
    (elsewhere / "my/m.yaml").write_text(
        SIM.replace("name: sim", "name: m") + "matrix: {os.debian.suite: [bookworm, trixie]}\n"
    )
    with pytest.raises(RecipeError) as caught:
        loader.load("my/m.yaml", PROJECT)
    hint = caught.value.problems[0].hint
    assert hint == "such as my/m-bookworm"
    assert loader.load("my/m-bookworm", PROJECT).called == "my/m-bookworm"


@pytest.mark.parametrize("task", ["boot", "submit"])
def test_hints_name_the_path_that_works(task: str, elsewhere: Path) -> None:
    with pytest.raises(UsageError) as caught:
        if task == "boot":
            boot.boot("./my/sim.yaml", events=PlainEvents(sys.stderr))
        else:
            submit.submit("./my/sim.yaml")
    assert caught.value.problem.hint == "inv build ./my/sim.yaml"


def test_directories_of_recipes_are_checked_and_listed(elsewhere: Path) -> None:
    assert [one["name"] for one in check.check(["my", "./other"])["recipes"]] == ["my/sim.yaml", "other/sim.yaml"]
    (row,) = recipes.recipes(["my"])["recipes"]
    assert (row["name"], row["state"], row["called"]) == ("sim", "unbuilt", "my/sim.yaml")
    (elsewhere / "empty").mkdir()
    with pytest.raises(RecipeError, match="no recipes in the directory"):
        check.check(["empty"])


@pytest.mark.parametrize("kind", ["directory", "file"])
def test_what_roost_did_not_make_is_not_replaced(kind: str, elsewhere: Path) -> None:
    (elsewhere / "my/build").mkdir()
    there = elsewhere / "my/build/sim"
    if kind == "directory":
        there.mkdir()
        (there / "mine").write_text("precious")
    else:
        there.write_text("precious")
    for refused in (build.build, rebuild.explain):
        with pytest.raises(UsageError, match="was not created by roost"):
            refused("my/sim.yaml", events=PlainEvents(sys.stderr))
    assert os.path.lexists(there)
    assert kind != "directory" or (there / "mine").read_text() == "precious"


def test_a_link_in_place_of_an_image_is_told_as_that(elsewhere: Path) -> None:
    moved = elsewhere / "other/sim"
    moved.mkdir()
    (moved / manifest.NAME).write_text("{}")
    (elsewhere / "my/build").mkdir()
    there = elsewhere / "my/build/sim"
    there.symlink_to(moved)
    for refused in (build.build, rebuild.explain):
        with pytest.raises(UsageError, match=r"build/sim is a symbolic link, which a build does not replace \(remove"):
            refused("my/sim.yaml", events=PlainEvents(sys.stderr))
    assert there.is_symlink()


def test_build_itself_may_be_a_link(elsewhere: Path) -> None:
    (elsewhere / "my/build").symlink_to(elsewhere / "other")
    build.refuse_foreign(loader.load("my/sim.yaml", PROJECT).build)


def test_a_minimal_base_has_no_job_and_no_io_disk(elsewhere: Path) -> None:
    (elsewhere / "my/bare.yaml").write_text(
        "extends: [base/debian-minimal.yaml]\nname: bare\nos: {debian: {suite: bookworm}}\n"
    )
    assert check.check(["my/bare.yaml"])["ok"]
    recipe = loader.load("my/bare.yaml", PROJECT).recipe
    assert ([disk.name for disk in recipe.disks], recipe.job, recipe.submit.returns) == (["root"], None, ())


def test_an_image_of_another_recipe_by_its_path(elsewhere: Path) -> None:
    (elsewhere / "my/variant.yaml").write_text(
        "name: variant\nos: {image: {recipe: ./sim.yaml}}\ndisks: [{name: root, format: qcow2, overlay: true}]\n"
    )
    assert check.check(["my/variant.yaml"])["recipes"][0]["problems"] == []


def test_a_published_version_is_named_with_the_image(tmp_path: Path, elsewhere: Path) -> None:
    assert released.named("sim@2026.11") == ("sim", "2026.11")
    assert released.named("sim") == ("sim", None)
    assert released.named("my/sim.yaml") == ("sim", None)
    with pytest.raises(UsageError, match="names a published version"):
        submit.submit("sim@2026.11")


def test_the_installed_package_brings_bases_and_kernels(tmp_path: Path) -> None:
    """The wheel's layout: roost/shipped beside the code; see pyproject.toml."""
    package = tmp_path / "site/roost"
    (package / "shipped/recipes").mkdir(parents=True)
    for entry in (PROJECT / "roost").iterdir():
        if entry.name != "host":
            (package / entry.name).symlink_to(entry)
    (package / "host").mkdir()
    for entry in (PROJECT / "roost/host").iterdir():
        (package / "host" / entry.name).write_bytes(entry.read_bytes()) if entry.suffix == ".py" else None
    (package / "shipped/recipes/base").symlink_to(PROJECT / "recipes/base")
    (package / "shipped/kernels").symlink_to(PROJECT / "kernels")
    work = tmp_path / "work"
    work.mkdir()
    (work / "sim.yaml").write_text(SIM)
    environment = {name: value for name, value in os.environ.items() if name != "ROOST_ROOT"}
    done = subprocess.run(
        [sys.executable, "-P", "-m", "roost", "check", "./sim.yaml", "--json"],
        cwd=work,
        env={**environment, "PYTHONPATH": str(tmp_path / "site")},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert json.loads(done.stdout)["ok"], done.stdout + done.stderr
