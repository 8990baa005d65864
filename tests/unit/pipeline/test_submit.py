"""`inv submit --set`: what changes the submission alone is taken, what makes another image is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.customize.inputs import recipe_key
from roost.errors import ImageError, RecipeError, UsageError
from roost.pipeline import boot, recipes
from roost.pipeline import submit as story
from roost.recipe import loader
from roost.store import manifest
from roost.store.manifest import Manifest

RECIPE = """\
name: sim
os: {debian: {suite: bookworm}}
job: {command: /bin/true, timeout: 1h}
disks:
  - {name: root, partitions: [{mount: /, free: 64MiB}]}
  - {name: io, filesystem: ext4, size: 64MiB, role: io}
hypervisors: [kvm]
submit: {return: [io]}
"""


def built(directory: Path, *sets: str) -> str:
    """Leave the record of a build, as of a recipe with `sets`; return the recipe's path."""
    file = directory / "sim.yaml"
    file.write_text(RECIPE)
    loaded = loader.load(file, directory, sets)
    loaded.build.mkdir(parents=True)
    disks = []
    for name in ("root.raw", "io.raw"):
        (loaded.build / name).write_bytes(b"")
        disks.append(manifest.describe(loaded.build / name, "raw", 64 << 20, "0" * 64))
    keys = {"recipe": recipe_key(loaded.recipe, loaded.directory)}
    manifest.write(loaded.build, Manifest("sim", "k", keys, {}, tuple(disks), {}, {}))
    return str(file)


def submitted(name: str, *sets: str) -> str:
    return story.submit(name, story.Options(sets=sets))


def test_keys_of_the_submission_need_no_build(tmp_path: Path) -> None:
    name = built(tmp_path)
    text = submitted(name, "submit.avoid=[bad.example.org]", "machine.memory=2GiB", "submit.max_starts=2")
    assert 'TARGET.Machine != "bad.example.org"' in text
    assert "vm_memory      = 2048" in text and "NumJobStarts < 2" in text
    assert "bad.example.org" not in submitted(name)


def test_another_image_is_refused_unless_it_is_what_was_built(tmp_path: Path) -> None:
    name = built(tmp_path)
    with pytest.raises(UsageError, match=r"--set of machine\.network makes another image") as caught:
        submitted(name, "machine.network=nat", "submit.max_starts=2")
    assert "--set machine.network=nat first" in str(caught.value.problem.hint)
    # What says the same as the recipe changes nothing.
    assert submitted(name, "machine.network=none") == submitted(name)


def test_a_build_with_set_is_submitted_with_the_same(tmp_path: Path) -> None:
    name = built(tmp_path, "machine.network=nat")
    text = submitted(name, "machine.network=nat", "submit.max_starts=2")
    assert "vm_networking_type = nat" in text and "NumJobStarts < 2" in text
    with pytest.raises(UsageError):
        submitted(name, "machine.network=bridge")


def test_a_mistake_names_its_setting(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        submitted(built(tmp_path), "submit.avoid=[a b]")
    assert any("--set submit.avoid" in str(problem) for problem in caught.value.problems)


def test_inputs_of_jobs_without_a_disk_of_their_own_are_refused(tmp_path: Path) -> None:
    name, jobs = built(tmp_path), tmp_path / "jobs.csv"
    (tmp_path / "a.txt").write_text("1\n")
    jobs.write_text("n,Inputs\n1,a.txt\n2,a.txt\n")
    with pytest.raises(RecipeError) as caught:
        story.submit(name, story.Options(jobs=jobs))
    (problem,) = caught.value.problems
    assert problem.what == "there is no column io for the disk io" and problem.where is not None
    assert problem.where.line == 1 and "`inv run` makes the disks" in str(problem.hint)
    # Jobs that differ in their variables alone share the disk of the build.
    jobs.write_text("n\n1\n2\n")
    assert "queue n from" in story.submit(name, story.Options(jobs=jobs))


def test_a_build_whose_files_are_gone_or_changed_is_not_submitted(tmp_path: Path) -> None:
    name = built(tmp_path)
    build = loader.load(name, tmp_path).build
    (build / "io.raw").write_bytes(b"other")
    with pytest.raises(ImageError, match=r": io\.raw changed since the build") as caught:
        submitted(name)
    assert caught.value.problem.hint == f"inv build --force {name}"
    assert [row["state"] for row in recipes.recipes([name])["recipes"]] == ["changed since the build"]
    (build / "root.raw").unlink()
    assert [row["state"] for row in recipes.recipes([name])["recipes"]] == ["files missing"]
    with pytest.raises(ImageError, match=r": root\.raw is missing; io\.raw changed since the build"):
        submitted(name)
    (build / "io.raw").unlink()
    with pytest.raises(ImageError, match=r": root\.raw, io\.raw are missing"):
        submitted(name)


def test_a_damaged_record_is_not_an_image_that_was_never_built(tmp_path: Path) -> None:
    name = built(tmp_path)
    loaded = loader.load(name, tmp_path)
    (loaded.build / manifest.NAME).write_text("{")
    for refused in (lambda: submitted(name), lambda: boot.built(loaded)):
        with pytest.raises(
            ImageError, match=r"manifest\.json is damaged, or was written by another version of roost"
        ) as caught:
            refused()
        assert str(caught.value.problem.hint).startswith("inv build --force ")
    assert [row["state"] for row in recipes.recipes([name])["recipes"]] == ["damaged"]
    (loaded.build / manifest.NAME).unlink()
    with pytest.raises(UsageError, match="sim is not built yet"):
        submitted(name)
    assert [row["state"] for row in recipes.recipes([name])["recipes"]] == ["unbuilt"]
