"""One mistake of a recipe is one problem: what follows from it is not reported, and nothing is reported twice."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from roost.errors import RecipeError
from roost.recipe import loader
from tests.unit.recipe.test_loader import GOOD, Project

DISK = "  - {name: io, filesystem: ext4, size: 64MiB, role: io}\n"
JOB = "job: {command: /x}\n"


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Project:
    (tmp_path / "recipes").mkdir()
    monkeypatch.chdir(tmp_path)
    return Project(tmp_path)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        # The name of a disk is wrong, missing, or lost with other mistakes of the disk.
        (
            DISK.replace("io,", "IO,", 1) + JOB + "submit: {return: [io]}\nboot_test: {expect: [{file: /x, on: io}]}\n",
            ["5:12: 'IO' is not allowed here"],
        ),
        (
            DISK.replace("io,", "12,", 1) + JOB + "submit: {return: ['12']}\n",
            ["5:12: expected text, found the number 12"],
        ),
        (DISK.replace("name: io, ", "") + JOB + "submit: {return: [io]}\n", ["5:5: the key 'name' is missing"]),
        ("  - 5\n" + JOB + "submit: {return: [io]}\nboot_test: {inputs: [.]}\n", ["5:5: expected a mapping"]),
        (
            DISK.replace("ext4", "ext5") + JOB + "boot_test: {inputs: [.], expect: [{file: /x, on: io}]}\n",
            ["5:28: 'ext5' is not one of"],
        ),
        # A job, a list of disks, cloud-init that are there, but wrong.
        (DISK + "job: 3\nboot_test: {expect: [{exit: 0}], inputs: [.]}\n", ["6:6: expected a mapping"]),
        (DISK + JOB + "submit: {return: [IO], return_as: {io: x}}\n", ["7:19: 'IO' is not allowed here"]),
        ("cloud_init: 3\n", ["5:13: expected a mapping"]),
        # Not a consequence.
        (
            DISK.replace("64MiB", "lots") + JOB + "submit: {return: [oi]}\n",
            ["5:40: 'lots' is not a size", "7:19: there is no disk 'oi' (known: root, io)"],
        ),
    ],
)
def test_a_consequence_of_a_mistake_is_not_a_second_one(text: str, told: Sequence[str], project: Project) -> None:
    project.write("one.yaml", GOOD + text)
    found = project.problems("one")
    assert len(found) == len(told), found
    for one, expected in zip(found, told, strict=True):
        assert one.startswith(f"recipes/one.yaml:{expected}")


@pytest.mark.parametrize(
    ("key", "told"),
    [
        ("machine.cpuz", "unknown key 'cpuz' (did you mean cpus?)"),
        ("machin.cpus", "unknown key 'machin' (did you mean machine?)"),
        ("machine.cpuz.y", "unknown key 'cpuz' (did you mean cpus?)"),
        ("disks.rot.size", "the list has no 'rot' (did you mean root?)"),
        (".cpus", "'.cpus' is not a key (write keys with dots: machine.memory)"),
    ],
)
@pytest.mark.parametrize("values", ["[1, 2]", "{one: 1, two: 2}"])
def test_a_wrong_key_of_the_matrix_is_one_mistake(key: str, told: str, values: str, project: Project) -> None:
    more = f"matrix:\n  {key}: {values}\n  os.debian.suite: [bookworm, trixie]\n"
    project.write("one.yaml", GOOD + more)
    with pytest.raises(RecipeError) as caught:
        loader.load_all("one", project.directory)
    assert [str(one) for one in caught.value.problems] == [f"recipes/one.yaml:6:3: {told}"]
