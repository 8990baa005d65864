"""A run that is stopped half-way and goes on: real io disks, an executor that breaks off where the test says."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roost.errors import HostError, ImageError, RecipeError, UsageError
from roost.events import Silent
from roost.pipeline import run as story
from roost.pipeline import run_plan
from roost.run import outcomes
from roost.run.model import End, Job, Run, Told
from roost.run.place import Place
from roost.run.result import Result
from roost.store import manifest
from roost.store.manifest import BuiltFile, Manifest

PROJECT = Path(__file__).resolve().parents[3]
STATUS = {"state": "finished", "exit_code": 0, "signal": None, "timed_out": False, "start": "2026-01-02T03:04:05Z"}


@dataclass
class Executor:
    """Runs jobs in their order, one at a time; breaks off when `stop` has begun. `codes` are the jobs' exit codes."""

    codes: Mapping[str, int] = field(default_factory=dict)
    stop: str | None = None
    name: str = "local"
    ran: list[str] = field(default_factory=list)

    def describe(self) -> Mapping[str, Any]:
        return {"executor": self.name}

    def run(self, run: Run, jobs: Sequence[Job], told: Told) -> None:
        for job in jobs:
            told.started(job)
            if job.name == self.stop:
                raise HostError("the host went away")
            self.ran.append(job.name)
            disk = run.place.returned / f"{job.name}.raw"
            shutil.copy(run.place.disk(job.name, "raw"), disk)
            status = run.place.directory / "status.json"
            status.write_text(json.dumps({**STATUS, "exit_code": self.codes.get(job.name, 0)}))
            request = f"write {status} status.json"
            subprocess.run(["debugfs", "-w", "-R", request, disk], check=True, capture_output=True)
            told.ended(End(job.name, disk, 1.0))


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)

    def doing(self, name: str, text: str) -> None:
        self.said.append(f"{name}: {text}")


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return the recipe of an image that is as good as built, with four jobs beside it."""
    shutil.copy(PROJECT / "recipes" / "smoke.yaml", tmp_path)
    shutil.copytree(PROJECT / "recipes" / "files", tmp_path / "files")
    build(tmp_path, b"root")
    (tmp_path / "x").write_text("1\n")
    (tmp_path / "jobs.csv").write_text("io,inputs\na.raw,x\nb.raw,x\nc.raw,x\nd.raw,x\n")
    return tmp_path / "smoke.yaml"


def build(directory: Path, content: bytes) -> None:
    (directory / "build" / "smoke").mkdir(parents=True, exist_ok=True)
    files = []
    for name, form in (("root.qcow2", "qcow2"), ("io.raw", "raw")):
        path = directory / "build" / "smoke" / name
        path.write_bytes(content)
        status = path.stat()
        files.append(BuiltFile(name, form, content.hex() * 8, 1 << 24, 4096, status.st_size, status.st_mtime_ns))
    manifest.write(directory / "build" / "smoke", Manifest("smoke", "", {}, {}, tuple(files), {}, {}))


@dataclass
class Runs:
    """Calls `inv run` and its --resume on one recipe, with an executor of the test's."""

    recipe: Path
    monkeypatch: pytest.MonkeyPatch
    notes: Notes = field(default_factory=Notes)

    @property
    def out(self) -> Path:
        return self.recipe.parent / "out"

    def run(self, executor: Executor, **more: Any) -> Result:
        self.monkeypatch.setattr(story, "_executor", lambda *_: executor)
        options = run_plan.Options(self.recipe.parent / "jobs.csv", 2, **more)
        return story.run(str(self.recipe), self.out, options, events=self.notes)

    def resume(self, executor: Executor) -> Result:
        self.monkeypatch.setattr(story, "_executor", lambda *_: executor)
        return story.resume(self.out, run_plan.Options(), events=self.notes)


@pytest.fixture
def runs(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    return Runs(recipe, monkeypatch)


def verdicts(result: Result) -> dict[str, str]:
    return {one.name: one.verdict for one in result.outcomes}


def test_what_has_a_verdict_is_never_run_again(runs: Runs) -> None:
    first = Executor({"b": 3}, stop="c")
    with pytest.raises(HostError):
        runs.run(first)
    assert first.ran == ["a", "b"]
    second = Executor()
    result = runs.resume(second)
    assert second.ran == ["c", "d"]
    assert verdicts(result) == {"a": "done", "b": "failed", "c": "done", "d": "done"}
    assert [one.attempts for one in result.outcomes] == [1, 1, 2, 1]
    assert any("cut off" in said and said.endswith(": c") for said in runs.notes.said)
    third = Executor()
    assert verdicts(runs.run(third)) == verdicts(result)
    assert third.ran == []


def test_a_local_run_says_how_far_it_is_and_which_jobs_run(runs: Runs) -> None:
    (runs.recipe.parent / "jobs.csv").write_text("io,inputs\na.raw,x\nb.raw,x\n")
    runs.run(Executor({"b": 3}))
    assert "jobs: 0 of 2 ended; running: a" in runs.notes.said
    assert "jobs: 2 of 2 ended, 1 not done" in runs.notes.said


def test_a_job_that_came_back_is_looked_at_and_not_run_again(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_args: object) -> None:
        raise HostError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(outcomes, "outcome", full)
        with pytest.raises(HostError, match="full"):
            runs.run(first := Executor({"a": 7}))
    again = Executor()
    result = runs.resume(again)
    assert "a" in first.ran and first.ran + again.ran == ["a", "b", "c", "d"]
    assert result.outcomes[0].exit_code == 7
    assert verdicts(result) == {"a": "failed", "b": "done", "c": "done", "d": "done"}


def test_a_job_without_its_input_is_held_and_runs_once_it_is_there(runs: Runs) -> None:
    (runs.recipe.parent / "jobs.csv").write_text("io,inputs\na.raw,x\nb.raw,late\n")
    first = Executor()
    result = runs.run(first)
    assert (verdicts(result), first.ran) == ({"a": "done", "b": "held"}, ["a"])
    assert "late" in result.outcomes[1].reason and not result.ok
    (runs.recipe.parent / "late").write_text("2\n")
    second = Executor()
    assert runs.resume(second).ok
    assert second.ran == ["b"]


def test_an_input_that_does_not_fit_holds_its_job_alone(runs: Runs) -> None:
    with (runs.recipe.parent / "large").open("wb") as file:
        file.truncate(1 << 30)
    (runs.recipe.parent / "jobs.csv").write_text("io,inputs\na.raw,x\nb.raw,large\n")
    result = runs.run(Executor())
    assert verdicts(result) == {"a": "done", "b": "held"}
    assert "16 MiB" in result.outcomes[1].reason


def test_another_file_of_jobs_is_refused_once_jobs_have_run(runs: Runs) -> None:
    jobs = runs.recipe.parent / "jobs.csv"
    with pytest.raises(HostError):
        runs.run(Executor(stop="b"))
    jobs.write_text("io,inputs\na.raw,x\n")
    with pytest.raises(UsageError, match="another run"):
        runs.run(Executor())
    # Nothing had run, so there is nothing to lose.
    shutil.rmtree(runs.out)
    jobs.write_text("io,inputs\na.raw,late\n")
    assert verdicts(runs.run(Executor())) == {"a": "held"}
    jobs.write_text("io,inputs\nz.raw,x\n")
    assert verdicts(runs.run(Executor())) == {"z": "done"}


def test_the_rest_of_a_run_needs_the_same_image(runs: Runs) -> None:
    with pytest.raises(HostError):
        runs.run(Executor(stop="b"))
    build(runs.recipe.parent, b"other")
    with pytest.raises(ImageError, match="rebuilt since"):
        runs.resume(Executor())
    build(runs.recipe.parent, b"root")
    assert runs.resume(Executor()).ok
    # All is told by now: whatever became of the image.
    shutil.rmtree(runs.recipe.parent / "build")
    assert runs.resume(Executor()).ok


def test_one_run_at_a_time(runs: Runs) -> None:
    assert runs.run(Executor()).ok
    with Place(runs.out).lock():
        for call in (runs.run, runs.resume):
            with pytest.raises(UsageError, match="another inv run"):
                call(Executor())


def test_files_of_another_user_are_not_disks_of_the_run(runs: Runs) -> None:
    (runs.out / "disks").mkdir(parents=True)
    (runs.out / "disks" / "a.raw").write_text("mine")
    with pytest.raises(UsageError, match="not empty"):
        runs.run(Executor())
    assert (runs.out / "disks" / "a.raw").read_text() == "mine"


def test_a_directory_of_another_user_is_not_filled(runs: Runs) -> None:
    runs.out.mkdir()
    (runs.out / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty and not a run of inv: it has thesis\.tex"):
        runs.run(Executor())
    assert [one.name for one in runs.out.iterdir()] == ["thesis.tex"]
    # What a kill leaves of a file that was being written is the run's own.
    (runs.out / "thesis.tex").rename(runs.out / ".roost-1-00")
    assert runs.run(Executor()).ok
    # A run that began there goes on beside whatever came later.
    (runs.out / "notes.txt").write_text("mine")
    assert runs.run(Executor()).ok


def test_the_file_of_jobs_may_lie_in_the_directory_of_the_run(runs: Runs, monkeypatch: pytest.MonkeyPatch) -> None:
    runs.out.mkdir()
    jobs = runs.out / "jobs.csv"
    jobs.write_text("io\na.raw\n")
    monkeypatch.setattr(story, "_executor", lambda *_: Executor())
    assert story.run(str(runs.recipe), runs.out, run_plan.Options(jobs, 2), events=runs.notes).ok


def test_a_call_that_was_stopped_before_its_plan_was_written_is_called_again(runs: Runs) -> None:
    place = Place(runs.out)
    place.make()
    # As one leaves it that is stopped while it waits for the image.
    place.state.touch()
    assert runs.run(Executor()).ok


def test_what_happened_without_a_plan_is_not_a_new_run(runs: Runs) -> None:
    place = Place(runs.out)
    place.make()
    place.state.write_text("{}\n")
    with pytest.raises(UsageError, match="without a run"):
        runs.run(Executor())


def test_a_report_that_cannot_be_written_is_reported_before_anything_runs(runs: Runs, tmp_path: Path) -> None:
    executor = Executor()
    with pytest.raises(UsageError):
        runs.run(executor, junit=tmp_path / "absent" / "junit.xml")
    assert executor.ran == [] and not runs.out.exists()
    result = runs.run(executor, junit=tmp_path / "junit.xml", html=tmp_path / "page.html")
    assert result.report == tmp_path / "page.html"
    assert 'tests="4"' in (tmp_path / "junit.xml").read_text()
    assert 'href="out/results/a/"' in (tmp_path / "page.html").read_text()
    (tmp_path / "pages").mkdir()
    assert runs.run(executor, html=tmp_path / "pages").report == tmp_path / "pages" / "report.html"


@pytest.mark.parametrize(
    ("jobs", "said"),
    [
        ("io,inputs\na.raw,x\na.qcow2,x\n", "named a too"),
        ("name,inputs\na b,x\n", "not a valid job name"),
        ("io,inputs\na.raw\n", "1 value for 2 variables"),
    ],
)
def test_a_wrong_file_of_jobs_leaves_nothing(jobs: str, said: str, runs: Runs) -> None:
    (runs.recipe.parent / "jobs.csv").write_text(jobs)
    with pytest.raises(RecipeError, match=said):
        runs.run(Executor())
    assert not runs.out.exists()


def test_a_sweep_over_images(runs: Runs) -> None:
    jobs = runs.recipe.parent / "sweep.yaml"
    jobs.write_text("axes: {image: [./smoke.yaml], n: [1, 2]}\ninputs: [x]\n")
    executor = Executor()
    runs.monkeypatch.setattr(story, "_executor", lambda *_: executor)
    options = run_plan.Options(jobs, 1)
    with pytest.raises(UsageError, match="names the image of each job"):
        story.run("smoke", runs.out, options, events=Silent())
    result = story.run(None, runs.out, options, events=Silent())
    assert verdicts(result) == {"smoke-1": "done", "smoke-2": "done"}
    assert (runs.out / "disks" / "smoke-1.raw").is_file()


def test_an_image_that_is_not_built_is_reported_before_anything_is_made(runs: Runs) -> None:
    shutil.rmtree(runs.recipe.parent / "build")
    with pytest.raises(UsageError, match="not built"):
        runs.run(Executor())
    assert not runs.out.exists()


def test_no_run_to_resume(runs: Runs) -> None:
    for directory in (runs.out, runs.recipe):
        with pytest.raises((UsageError, ImageError)):
            story.resume(directory, run_plan.Options(), events=Silent())


def test_a_file_is_not_a_run_to_resume(runs: Runs) -> None:
    with pytest.raises(UsageError, match="there is no run in"):
        story.resume(runs.recipe, run_plan.Options(), events=Silent())


def test_a_host_that_cannot_take_out_what_a_job_left_runs_no_more_jobs(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "".join(f"j{number}.raw,x\n" for number in range(9))
    (runs.recipe.parent / "jobs.csv").write_text(f"io,inputs\n{lines}")

    def full(*_: object) -> None:
        raise HostError("no space left on the disk")

    monkeypatch.setattr("roost.run.outcomes.outcome", full)
    first = Executor()
    with pytest.raises(HostError, match="no space left"):
        runs.run(first)
    assert len(first.ran) < 9, "told when all jobs had run"
    monkeypatch.undo()
    assert set(verdicts(runs.resume(Executor())).values()) == {"done"}


def test_one_word_is_reported_to_be_the_directory(runs: Runs) -> None:
    options = run_plan.Options(runs.recipe.parent / "jobs.csv", 2)
    with pytest.raises(UsageError, match="the only word, 'out', is taken as the directory"):
        story.run(None, Path("out"), options, events=Silent())
    assert not Path("out").exists()
