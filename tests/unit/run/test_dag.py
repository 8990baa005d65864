"""A run's workflow: its nodes, their order, what they call; every value as it stands in the file of jobs."""

from __future__ import annotations

import os
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from roost.condor.dag_lint import lint_dag
from roost.errors import RecipeError
from roost.run import dag
from roost.run.dag import Throttles, Written
from roost.run.place import Place
from roost.store.manifest import Manifest
from tests.unit.run.test_description import TOKEN, built, image

TABLE = "io,priority,note\ndisks/a.raw,5,plain\ndisks/a.b.raw,,two words\ndisks/a_b.raw,-1,x\n"


def workflow(tmp_path: Path, table: str = TABLE, throttles: Throttles | None = None) -> Written:
    one = image(tmp_path, table, attributes={"Note": "$(note)"})
    record = Manifest("smoke", "", {}, {}, (built("root.qcow2", "qcow2"), built("io.raw", "raw")), {}, {})
    return dag.workflow({"smoke": one}, {"smoke": record}, Place(tmp_path), TOKEN, throttles or Throttles())


def test_nodes(tmp_path: Path) -> None:
    made = workflow(tmp_path, throttles=Throttles(7, 3, 1))
    lines = made.texts[dag.DAG].splitlines()
    assert [line.split()[1] for line in lines if line.startswith("JOB ")] == [
        f"{step}-{job}" for job in ("a", "a_b", "a_b_2") for step in ("io", "run", "clean")
    ]
    assert made.nodes == {"a": "run-a", "a.b": "run-a_b", "a_b": "run-a_b_2"}
    for line in (
        f"JOB run-a job-smoke.sub DIR {tmp_path}",
        f"SCRIPT POST run-a {tmp_path}/step judge a $JOBID $RETURN $RETRY",
        f"SCRIPT POST run-a_b {tmp_path}/step judge a.b $JOBID $RETURN $RETRY",
        "RETRY run-a 1 UNLESS-EXIT 2",
        "CATEGORY run-a run",
        "PRIORITY run-a 15",
        "PRIORITY io-a 5",
        "PRIORITY run-a_b_2 9",
        "PARENT io-a CHILD run-a",
        "PARENT run-a CHILD clean-a",
        f"FINAL report step.sub DIR {tmp_path}",
        "MAXJOBS run 7",
        "MAXJOBS io 3",
        f"CONFIG {tmp_path}/dagman.config",
    ):
        assert line in lines, made.texts[dag.DAG]
    (second,) = (line for line in lines if line.startswith("VARS run-a_b "))
    assert 'io="disks/a.b.raw"' in second and 'note="two words"' in second and 'roost_job="a.b"' in second


def test_one_description_for_all_jobs(tmp_path: Path) -> None:
    made = workflow(tmp_path)
    (text,) = (text for name, text in made.texts.items() if name.startswith("job-"))
    assert text.rstrip().endswith("\nqueue") and "$(io)" in text
    assert "logs/$(roost_job).log" in text


def test_a_priority_that_is_not_a_number_is_named_with_its_place(tmp_path: Path) -> None:
    with pytest.raises(RecipeError, match="priority 'high' is not a whole number") as caught:
        workflow(tmp_path, "io,priority\ndisks/a.raw,high\ndisks/b.raw,1.5\ndisks/c.raw,-7\ndisks/d.raw,99999999999\n")
    assert [problem.where.line for problem in caught.value.problems if problem.where] == [2, 3, 5]
    assert str(caught.value.problems[0].where) == "jobs.csv:2"


@pytest.mark.parametrize("name", ["my run", "a'b", "a$b", "a;b"])
def test_a_directory_that_dagman_cannot_read_is_refused(name: str, tmp_path: Path) -> None:
    directory = tmp_path / name
    directory.mkdir()
    with pytest.raises(RecipeError, match="DAGMan cannot read the path"):
        workflow(directory)


def test_the_step_program_calls_this_roost_from_anywhere(tmp_path: Path) -> None:
    program = tmp_path / dag.STEP
    program.write_text(workflow(tmp_path).texts[dag.STEP])
    program.chmod(0o755)
    # DAGMan's environment has next to nothing.
    done = subprocess.run(
        [program, "nothing"], cwd="/", env={}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 2, done.stderr
    assert "which step? io, judge, clean, report" in done.stderr
    done = subprocess.run([program, "io"], cwd="/", env={}, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2 and "takes 1 word" in done.stderr
    assert os.access(program, os.X_OK)


def test_the_lint_finds_nothing_wrong(tmp_path: Path) -> None:
    for name, text in workflow(tmp_path).texts.items():
        (tmp_path / name).write_text(text)
    report = lint_dag(tmp_path / dag.DAG)
    assert report.ok and {one.rule.code for one in report.findings} == {"dag-file-later"}, report.render()


def test_each_image_has_one_description(tmp_path: Path) -> None:
    one = image(tmp_path, "io\ndisks/a.raw\n")
    other = replace(one, jobs=(replace(one.jobs[0], name="b"),), table=image(tmp_path, "io\ndisks/b.raw\n").table)
    record = Manifest("smoke", "", {}, {}, (built("root.qcow2", "qcow2"), built("io.raw", "raw")), {}, {})
    images = {"smoke": one, "./smoke": other}
    made = dag.workflow(images, dict.fromkeys(images, record), Place(tmp_path), TOKEN, Throttles())
    descriptions = [line.split()[2] for line in made.texts[dag.DAG].splitlines() if line.startswith("JOB run-")]
    assert descriptions == ["job-smoke.sub", "job-__smoke.sub"] and set(descriptions) < set(made.texts)
