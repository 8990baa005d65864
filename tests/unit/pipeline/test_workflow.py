"""The steps of a DAG's nodes, with real io disks: made, judged by what is on them, removed once a job is done."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

import pytest

from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Silent
from roost.pipeline import run as story
from roost.pipeline import run_plan, workflow
from roost.run import dag
from roost.run.dag import Throttles
from roost.store import manifest
from roost.store.manifest import BuiltFile, Manifest

PROJECT = Path(__file__).resolve().parents[3]
STATUS = {"state": "finished", "exit_code": 0, "signal": None, "timed_out": False, "start": "2026-01-02T03:04:05Z"}
HEAD = "{number} ({cluster:03d}.000.000) 2026-11-26 17:00:{second:02d} Something.\n{more}...\n"


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    """Return the recipe of an image that is as good as built."""
    shutil.copy(PROJECT / "recipes" / "smoke.yaml", tmp_path)
    shutil.copytree(PROJECT / "recipes" / "files", tmp_path / "files")
    _build(tmp_path / "build" / "smoke", b"root")
    (tmp_path / "jobs.csv").write_text("io,inputs\na.raw,x\nb.raw,late\n")
    (tmp_path / "x").write_text("1\n")
    return tmp_path / "smoke.yaml"


def _build(directory: Path, content: bytes) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    files = []
    for name, form in (("root.qcow2", "qcow2"), ("io.raw", "raw")):
        (directory / name).write_bytes(content)
        status = (directory / name).stat()
        files.append(BuiltFile(name, form, content.hex() * 8, 1 << 24, 4096, status.st_size, status.st_mtime_ns))
    manifest.write(directory, Manifest("smoke", "", {}, {}, tuple(files), {}, {}))


def write(recipe: Path) -> Path:
    out = recipe.parent / "out"
    options = run_plan.Options(recipe.parent / "jobs.csv")
    workflow.write(str(recipe), out, options, Throttles(), Silent())
    return out


def ran(out: Path, job: str, cluster: int, *numbers: str, status: dict[str, object] | None) -> int:
    """Let a job have run as a cluster, with a status on the disk that came back; judge it."""
    with (out / "logs" / f"{job}.log").open("a") as log:
        for second, number in enumerate(numbers):
            more = "\tdoes not matter\n" if number in {"009", "012"} else ""
            log.write(HEAD.format(number=number, cluster=cluster, second=second, more=more))
    if "005" in numbers:
        disk = out / "returned" / f"{job}-{cluster}.0.raw"
        shutil.copy(out / "disks" / f"{job}.raw", disk)
        if status is not None:
            (out / "status.json").write_text(json.dumps(status))
            request = f"write {out}/status.json status.json"
            subprocess.run(["debugfs", "-w", "-R", request, disk], check=True, capture_output=True)
    return workflow.step(out, ["judge", job, f"{cluster}.0", "0", "0"])


def verdict(out: Path, job: str) -> dict[str, object]:
    workflow.step(out, ["report"])
    (found,) = (one for one in json.loads((out / "report.json").read_text())["jobs"] if one["name"] == job)
    assert isinstance(found, dict)
    return found


def test_the_life_of_a_job(recipe: Path) -> None:
    out = write(recipe)
    assert workflow.step(out, ["io", "a"]) == 0
    disk = out / "disks" / "a.raw"
    made = disk.stat().st_mtime_ns
    assert workflow.step(out, ["io", "a"]) == 0 and disk.stat().st_mtime_ns == made
    # HTCondor says that all is well: the guest is gone. The disk says that nothing ever ran, or never ended.
    assert ran(out, "a", 7, "000", "001", "005", status=None) == 1
    assert ran(out, "a", 8, "000", "001", "005", status=STATUS | {"state": "running"}) == 1
    assert verdict(out, "a")["verdict"] == "killed"
    with pytest.raises(UsageError, match="is not done, and its disks are kept"):
        workflow.step(out, ["clean", "a"])
    assert ran(out, "a", 9, "000", "001", "005", status=STATUS) == 0
    assert (verdict(out, "a")["verdict"], verdict(out, "a")["attempts"]) == ("done", 3)
    # Another job's disk has a name that begins alike.
    (out / "returned" / "a-7-9.0.raw").touch()
    assert workflow.step(out, ["clean", "a"]) == 0
    assert [path.name for name in ("disks", "returned") for path in (out / name).iterdir()] == ["a-7-9.0.raw"]
    assert workflow.step(out, ["report"]) == 1
    for name in ("report.json", "report.html", "junit.xml"):
        assert "its node did not run to its end" in (out / name).read_text(), name


def test_what_another_try_would_not_change_is_not_tried_again(recipe: Path) -> None:
    out = write(recipe)
    assert workflow.step(out, ["io", "a"]) == 0
    assert ran(out, "a", 7, "000", "001", "005", status=STATUS | {"exit_code": 3}) == dag.FINAL_WORD
    assert verdict(out, "a")["exit_code"] == 3
    assert ran(out, "a", 8, "000", "012", "009", status=None) == dag.FINAL_WORD
    assert verdict(out, "a")["verdict"] == "held"
    assert ran(out, "a", 9, "000", "001", "009", status=None) == 1
    assert verdict(out, "a")["verdict"] == "killed"


def test_an_input_that_is_not_there_yet(recipe: Path) -> None:
    out = write(recipe)
    assert workflow.step(out, ["io", "b"]) == 1
    found = verdict(out, "b")
    assert found["verdict"] == "held" and "late" in str(found["reason"])
    (recipe.parent / "late").write_text("2\n")
    assert workflow.step(out, ["io", "b"]) == 0


class Notes(Silent):
    """Keeps what is said."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def note(self, text: str) -> None:
        self.said.append(text)


def test_inputs_that_are_not_there_are_reported_when_it_is_written(recipe: Path) -> None:
    jobs = recipe.parent / "jobs.csv"
    jobs.write_text("io,inputs\na.raw,x\n" + "".join(f"b{number}.raw,late\n" for number in range(7)))
    notes = Notes()
    workflow.write(str(recipe), recipe.parent / "out", run_plan.Options(jobs), Throttles(), notes)
    first, *_, last = told = [said for said in notes.said if "until that is fixed" in said or "as they are now" in said]
    assert len(told) == 6
    assert first.startswith("b0: ") and "'late'" in first and "io-b0 fails" in first
    assert "2 more jobs" in last


def test_a_job_that_dagman_never_submitted(recipe: Path) -> None:
    out = write(recipe)
    assert workflow.step(out, ["judge", "a", "$JOBID", "-1", "0"]) == 1
    assert verdict(out, "a")["verdict"] == "never started"


def test_an_image_that_was_built_anew_is_another(recipe: Path) -> None:
    out = write(recipe)
    _build(recipe.parent / "build" / "smoke", b"rest")
    with pytest.raises(ImageError, match="rebuilt since the workflow was written"):
        workflow.step(out, ["io", "a"])


def test_a_workflow_that_was_submitted_is_not_written_anew(recipe: Path) -> None:
    out = write(recipe)
    write(recipe)
    (out / f"{dag.DAG}.condor.sub").touch()
    with pytest.raises(UsageError, match="was submitted"):
        write(recipe)
    with pytest.raises(UsageError, match="DAGMan runs the jobs"):
        story.resume(out, run_plan.Options(), events=Silent())


def test_nothing_is_written_for_jobs_that_cannot_be(recipe: Path) -> None:
    (recipe.parent / "jobs.csv").write_text("io,inputs,priority\na.raw,x,high\n")
    with pytest.raises(RecipeError, match="priority 'high'"):
        write(recipe)
    assert not (recipe.parent / "out" / dag.DAG).exists()


@pytest.mark.parametrize("words", [[], ["dance"], ["io"], ["judge", "a"], ["io", "nobody"]])
def test_wrong_steps(words: list[str], recipe: Path) -> None:
    with pytest.raises(UsageError):
        workflow.step(write(recipe), words)
    with pytest.raises(UsageError, match="no workflow"):
        workflow.step(recipe.parent, ["io", "a"])


def test_a_directory_with_other_files_takes_no_workflow(recipe: Path) -> None:
    out = recipe.parent / "out"
    out.mkdir()
    (out / "thesis.tex").write_text("mine")
    with pytest.raises(UsageError, match=r"not empty.*thesis\.tex"):
        write(recipe)
    assert [one.name for one in out.iterdir()] == ["thesis.tex"]
    (out / "thesis.tex").unlink()
    # What a call leaves that was killed before its plan stood.
    (out / "disks").mkdir()
    (out / ".lock").touch()
    write(recipe)
    write(recipe)
