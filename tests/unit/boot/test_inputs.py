"""The inputs of the test boot's job: checked with their place, part of the boot's key alone, made into its io disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.boot import overlays
from roost.customize import inputs as image_inputs
from roost.errors import RecipeError
from roost.iodisk.inputs import items
from roost.pipeline import planning
from roost.recipe import loader
from roost.recipe.loader import Loaded

PROJECT = Path(__file__).resolve().parents[3]
OS = "{debian: {suite: bookworm, variant: unpacked, packages: [busybox-static]}}"
ROOT = "{name: root, partitions: [{mount: /, filesystem: ext4, free: 16MiB}]}"
IO = "{name: io, filesystem: ext4, size: 16MiB, role: io}"


def load(directory: Path, test: str, *, disks: str = f"{ROOT}, {IO}", job: str = "job: {command: 'true'}") -> Loaded:
    """Load a recipe whose fifth line is its boot_test."""
    path = directory / "r.yaml"
    path.write_text(f"name: r\nos: {OS}\ndisks: [{disks}]\n{job}\nboot_test: {test}\n")
    return loader.load(path, PROJECT, (), planning.problems)


def refusals(directory: Path, test: str, **more: str) -> list[str]:
    """Return `LINE:COLUMN: what` of each problem."""
    try:
        load(directory, test, **more)
    except RecipeError as error:
        return [f"{one.where.line}:{one.where.column}: {one.what}" for one in error.problems if one.where]
    return []


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return a recipe's directory with two inputs."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data/one.txt").write_text("1\n")
    (tmp_path / "run.cfg").write_text("scale=1\n")
    return tmp_path


def test_inputs_that_are_there(directory: Path) -> None:
    assert refusals(directory, "{inputs: [run.cfg, data/]}") == []
    assert load(directory, "{inputs: [run.cfg, data/]}").recipe.boot_test.inputs == ("run.cfg", "data/")


@pytest.mark.parametrize(
    ("test", "problem"),
    [
        ("{inputs: [run.cfg, absent.txt]}", "5:31: no such file or directory: 'absent.txt'"),
        ("{inputs: [run.cfg, absent/]}", "5:31: no such file or directory: 'absent/'"),
        ("{inputs: [run.cfg, data/run.cfg]}", "5:31: 'data/run.cfg' and 'run.cfg' both give run.cfg"),
        ("{inputs: [pipe]}", "5:22: "),
        ("{inputs: [links]}", "5:22: the link "),
        ("{inputs: ['']}", "5:22: "),
        ("{inputs: run.cfg}", "5:21: expected a list"),
        ("{inputs: [7]}", "5:22: expected text"),
        ("{inputs: [big]}", "5:13: the inputs have 17 MiB, and the io disk 16 MiB"),
        ('{inputs: ["run\\0cfg"]}', "5:22: "),
        ("{input: [run.cfg]}", "5:13: unknown key 'input'"),
    ],
)
def test_what_cannot_be_an_input_is_said_with_its_place(test: str, problem: str, directory: Path) -> None:
    (directory / "data/run.cfg").write_text("x")
    os.mkfifo(directory / "pipe")
    (directory / "links").mkdir()
    (directory / "links/out").symlink_to("../../outside")
    with (directory / "big").open("wb") as file:
        file.truncate(17 << 20)
    found = refusals(directory, test)
    assert any(one.startswith(problem) for one in found), found


def test_inputs_need_a_job_and_its_disk(directory: Path) -> None:
    assert any("role io" in one for one in refusals(directory, "{inputs: [run.cfg]}", disks=ROOT))
    assert any(
        "there is none" in one for one in refusals(directory, "{inputs: [run.cfg]}", disks=ROOT, job="locale: C")
    )


def test_the_slash_of_a_base_stays(directory: Path) -> None:
    (directory / "base").mkdir()
    (directory / "base/set").mkdir()
    (directory / "base/set/two.txt").write_text("2\n")
    (directory / "base/b.yaml").write_text(f"os: {OS}\ndisks: [{ROOT}, {IO}]\nboot_test: {{inputs: [set/]}}\n")
    path = directory / "r.yaml"
    path.write_text("extends: [base/b.yaml]\nname: r\njob: {command: 'true'}\nboot_test: {inputs: [run.cfg]}\n")
    loaded = loader.load(path, PROJECT, (), planning.problems)
    found, problems = items(loaded.recipe.boot_test.inputs, loaded.directory)
    assert not problems
    assert sorted(one.target for one in found) == ["run.cfg", "two.txt"]


def test_an_input_is_of_the_boot_and_not_of_the_image(directory: Path) -> None:
    """Another test is another boot, and no other build."""

    def keys(test: str) -> tuple[str, str]:
        loaded = load(directory, test)
        return image_inputs.recipe_key(loaded.recipe, loaded.directory), image_inputs.boot_key(
            loaded.recipe, loaded.directory
        )

    image, first = keys("{inputs: [run.cfg, data/]}")
    assert keys("{inputs: [run.cfg, data/]}") == (image, first)
    changed = {first}
    for test in ("{inputs: [run.cfg]}", "{inputs: [run.cfg, data]}", "{timeout: 3min}", "{expect: [{exit: 3}]}"):
        assert keys(test)[0] == image
        changed.add(keys(test)[1])
    (directory / "data/one.txt").write_text("2\n")
    changed.add(keys("{inputs: [run.cfg, data/]}")[1])
    (directory / "data/new.txt").write_text("2\n")
    changed.add(keys("{inputs: [run.cfg, data/]}")[1])
    (directory / "run.cfg").chmod(0o755)
    changed.add(keys("{inputs: [run.cfg, data/]}")[1])
    (directory / "real").write_text("1")
    (directory / "link").symlink_to("real")
    changed.add(keys("{inputs: [link]}")[1])
    (directory / "real").write_text("2")
    assert keys("{inputs: [link]}")[0] == image
    changed.add(keys("{inputs: [link]}")[1])
    assert len(changed) == 10


def test_a_file_stands_in_for_a_disk(tmp_path: Path) -> None:
    from roost.condor.hardware import hardware
    from roost.condor.machine import VirtualMachine, VmDisk

    for name in ("io.raw", "other.raw"):
        (tmp_path / name).write_bytes(b"\0" * (1 << 20))
    shape = hardware(VirtualMachine("x", "kvm", 64, 1, (VmDisk("io.raw", "vda", "w", "raw"),)), "pc")
    (tmp_path / "log").mkdir()
    places = overlays.make(shape, tmp_path, tmp_path, {"vda": tmp_path / "other.raw"})
    assert places["vda"].image == tmp_path / "other.raw"
