"""`inv new`: what it writes passes the check, replaces nothing, and says all that is wrong with a call."""

from __future__ import annotations

import itertools
import stat
import subprocess
from pathlib import Path

import pytest

from roost.errors import HostError, UsageError
from roost.host import output
from roost.pipeline import new as story
from roost.pipeline.check import check
from roost.recipe import loader
from roost.recipe.start import DISTRIBUTIONS, HYPERVISORS, Answers


@pytest.fixture(autouse=True)
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stand in an empty directory, outside of any project."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize(("distribution", "hypervisors"), list(itertools.product(DISTRIBUTIONS, HYPERVISORS)))
def test_what_is_written_passes_the_check_and_says_what_was_asked_for(distribution: str, hypervisors: str) -> None:
    answers = Answers(
        distribution,
        packages=("python3-minimal", "g++"),
        hypervisors=hypervisors,
        io="1.5GiB",
        memory="2 GiB",
        cpus=2,
        timeout="30min",
    )
    made = story.new("./sim.yaml", answers)
    result = check([made["called"]])
    problems = [one for recipe in result["recipes"] for one in recipe["problems"] if "keyring" not in one]
    assert not problems
    recipe = loader.load(made["called"], Path.cwd()).recipe
    assert (recipe.name, recipe.machine.memory, recipe.machine.cpus) == ("sim", 2 << 30, 2)
    assert tuple(map(str, recipe.hypervisors)) == HYPERVISORS[hypervisors]
    assert {disk.name for disk in recipe.disks} == {"root", "io"}
    assert recipe.job is not None and recipe.job.timeout == 1800


def test_the_example_of_a_job_does_what_the_test_boot_expects(tmp_path: Path) -> None:
    made = story.new("./sim.yaml", Answers())
    run = tmp_path / "files/sim/run"
    assert stat.S_IMODE(run.stat().st_mode) == 0o755
    (tmp_path / "out").mkdir()
    environment = {"ROOST_OUTPUT": str(tmp_path / "out"), "PATH": "/usr/bin:/bin"}
    subprocess.run([run], cwd=run.parent, env=environment, check=True)
    assert (tmp_path / "out/result.txt").read_text() == "42\n"
    assert made["files"][-1] == "sim.yaml"


def test_a_name_goes_to_the_recipes_of_the_project(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "kernels").mkdir()
    made = story.new("sim", Answers())
    assert (made["recipe"], made["called"]) == (str(tmp_path / "recipes/sim.yaml"), "sim")


@pytest.mark.parametrize("there", ["sim.yaml", "files/sim/run", "files/sim/numbers.txt"])
@pytest.mark.parametrize("dangling", [False, True])
def test_nothing_that_exists_is_replaced(there: str, dangling: bool, tmp_path: Path) -> None:
    path = tmp_path / there
    path.parent.mkdir(parents=True, exist_ok=True)
    path.symlink_to("nowhere") if dangling else path.write_text("mine")
    with pytest.raises(UsageError, match="exists"):
        story.new("./sim.yaml", Answers())
    assert sorted(one for one in tmp_path.rglob("*") if not one.is_dir()) == [path]


@pytest.mark.parametrize("name", ["", ".", "/", "Sim", "a b", "../x y", "-x", "x" * 65, "a\x1b[31m"])
def test_an_invalid_name(name: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a valid image name") as told:
        story.new(name, Answers())
    assert "\x1b" not in str(told.value)
    assert not list(tmp_path.iterdir())


def test_all_wrong_answers_are_reported_at_once() -> None:
    wrong = Answers("fedora", ("a b", "ok"), "vmware", "banana", "0", 0, "-1h")
    with pytest.raises(UsageError) as told:
        story.new("sim", wrong)
    for word in ("fedora", "a b", "vmware", "banana", "--memory 0", "--cpus 0", "-1h"):
        assert word in str(told.value)


@pytest.mark.parametrize(
    ("answers", "said"),
    [
        (Answers(cpus=99999), "--cpus 99999: out of bounds (at most 1024)"),
        (Answers(cpus=-1), "--cpus -1: out of bounds (at least 1)"),
        (Answers(memory="1KiB"), "--memory 1KiB: out of bounds (at least 32 MiB)"),
    ],
)
def test_what_no_machine_can_have_is_refused_with_its_bounds(answers: Answers, said: str, tmp_path: Path) -> None:
    with pytest.raises(UsageError) as told:
        story.new("sim", answers)
    assert said in str(told.value) and not list(tmp_path.iterdir())


def test_a_full_disk_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is left would be in the way of the next try: nothing that exists is replaced."""
    (tmp_path / "recipes").mkdir()
    write, calls = output.write, itertools.count(1)

    def full(path: Path, data: bytes) -> None:
        if next(calls) == 3:
            raise HostError(f"{path} cannot be written: No space left on device")
        write(path, data)

    monkeypatch.setattr(output, "write", full)
    with pytest.raises(HostError, match="No space left"):
        story.new("sim", Answers())
    assert [path.name for path in tmp_path.rglob("*")] == ["recipes"]
    monkeypatch.setattr(output, "write", write)
    story.new("sim", Answers())


@pytest.mark.parametrize("place", ["file/x.yaml", "loop/x.yaml", f"{'d' * 300}/x.yaml"])
def test_a_path_that_cannot_be_is_a_wrong_call(place: str, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UsageError):
        story.new(place, Answers())


def test_a_path_may_leave_a_directory_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / "here").mkdir()
    for given in ("bad/../sim", "here/sim", "here/../bad/../sim2.yaml"):
        story.new(given, Answers())
    assert sorted(path.name for path in tmp_path.iterdir()) == ["files", "here", "sim.yaml", "sim2.yaml"]
    assert (tmp_path / "here/sim.yaml").is_file()
