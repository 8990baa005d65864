"""What a run is asked to do: names of jobs, and the same run again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from roost.condor.jobs_file import parse_jobs
from roost.errors import ImageError, RecipeError, UsageError
from roost.run import plan as plans
from roost.run import table as tables
from roost.run.place import Place
from roost.run.plan import Plan


def plan(text: str, directory: Path, image: str | None = "sim") -> Plan:
    return Plan(parse_jobs(text, "jobs.csv", directory), image, directory, "local", "io")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("io,n\nio-1.raw,1\nio-2.raw,2\n", ["io-1", "io-2"]),
        ("io,n\na/x.raw,1\nb/y.qcow2,2\n", ["x", "y"]),
        ("name,io\nfirst,io-1.raw\nsecond,io-2.raw\n", ["first", "second"]),
        ("n\n1\n2\n", ["job-1", "job-2"]),
        ("n\n" + "1\n" * 10, [f"job-{number:02}" for number in range(1, 11)]),
    ],
)
def test_names_of_jobs(text: str, names: list[str], tmp_path: Path) -> None:
    assert [job.name for job in plan(text, tmp_path).jobs()] == names


def test_names_that_cannot_be_are_all_told_with_their_lines(tmp_path: Path) -> None:
    text = "name,n\na,1\n../x,2\nA,3\n-x,4\n"
    with pytest.raises(RecipeError) as caught:
        plan(text, tmp_path).jobs()
    assert [problem.where.line for problem in caught.value.problems if problem.where] == [3, 5, 4]
    assert "line 2" in caught.value.problems[-1].what


def test_a_plan_is_read_as_it_was_written(tmp_path: Path) -> None:
    place = Place(tmp_path / "run")
    place.make()
    assert plans.read(place) is None
    first = plan('io,text\nio-1.raw,"a, b \\ \' ${x}"\n', tmp_path)
    first.write(place)
    again = plans.read(place)
    assert again is not None
    assert again.jobs() == first.jobs()
    assert not list(first.differences(again))


@pytest.mark.parametrize("other", ["io,n\nio-1.raw,1\n", "io,m\nio-1.raw,2\n", "io,n\nio-1.raw,2\nio-2.raw,2\n"])
def test_another_run_is_refused(other: str, tmp_path: Path) -> None:
    mine = plan("io,n\nio-1.raw,2\n", tmp_path)
    with pytest.raises(UsageError, match="another run"):
        plans.refuse_other(plan(other, tmp_path), mine, Place(tmp_path))
    with pytest.raises(UsageError, match="another run"):
        plans.refuse_other(plan("io,n\nio-1.raw,2\n", tmp_path, "other"), mine, Place(tmp_path))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"schema": 1}', "nonsense", '{"schema": 2, "roost": "9"}'])
def test_what_is_not_a_plan_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text(text)
    with pytest.raises(ImageError, match=r"run\.json"):
        plans.read(Place(tmp_path))


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"executor": "mars"}, "executor: "),
        ({"disk": None}, "disk: "),
        ({"image": 5}, "image: "),
        ({"image": None}, "one image"),
        ({"image_column": "nope"}, "one image"),
        ({"image": None, "image_column": "nope"}, "no column"),
        ({"rows": [[1, 2]]}, "rows[0][0]: "),
        ({"rows": [["1"]]}, "too few"),
        ({"lines": [-1]}, "lines[0]: "),
        ({"variables": ["n", "N"]}, "two variables"),
        ({"project": "a\0b"}, "project: "),
        ({"options": {"guests": "two"}}, "options.guests: "),
        ({"options": {"timeout": "x"}}, "options.timeout: "),
        ({"options": {"accel": "hvf"}}, "options.accel: "),
        ({"built": [1]}, "built: "),
    ],
)
def test_a_plan_that_was_edited_is_reported_as_such(wrong: dict[str, Any], said: str, tmp_path: Path) -> None:
    place = Place(tmp_path / "run")
    place.make()
    plan("io,n\nio-1.raw,2\n", tmp_path).write(place)
    place.plan.write_text(json.dumps({**json.loads(place.plan.read_text()), **wrong}))
    with pytest.raises(ImageError, match=r"run\.json is not the plan of a run") as caught:
        plans.read(place)
    assert said in str(caught.value)


def test_a_table_names_the_disks_of_the_run(tmp_path: Path) -> None:
    table = parse_jobs("io,n\nsome/a.raw,1\nb.raw,2\n", "jobs.csv", tmp_path)
    found = plans.relocated(table, (1,), ("a", "b"), ("io", "raw"), Place(tmp_path / "run"))
    assert found.rows == (("disks/b.raw", "2"),)
    assert (found.lines, found.directory) == ((3,), tmp_path / "run")
    without = plans.relocated(parse_jobs("n\n1\n", "j", tmp_path), (0,), ("job-1",), ("io", "raw"), Place(tmp_path))
    assert (without.variables, without.rows) == (("n", "io"), (("1", "disks/job-1.raw"),))


def test_names_that_differ_only_by_case_are_not_told_as_the_same(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        plan("name,n\nab,1\naB,2\nab,3\n", tmp_path).jobs()
    assert [one.what for one in caught.value.problems] == [
        "the job of line 2 is named ab, and aB differs only by case",
        "the job of line 2 is named ab too",
    ]


def test_jobs_of_a_sweep_with_one_name_are_told_apart_by_their_axes(tmp_path: Path) -> None:
    file = tmp_path / "s.yaml"
    file.write_text('axes: {a: [1, 2], b: [3, 4]}\nname: "j{{ b }}"\ninputs: "{{ a }}.txt"\n')
    with pytest.raises(RecipeError) as caught:
        Plan(tables.read(file), "sim", tmp_path, "local", "io").jobs()
    first = caught.value.problems[0]
    assert first.what == "two jobs are named j3: that of a=1 and that of a=2" and "differs with a" in (first.hint or "")


def test_thousands_of_jobs_with_one_name_are_reported_in_few_lines(tmp_path: Path) -> None:
    with pytest.raises(RecipeError) as caught:
        plan("name\n" + "a\n" * 3000, tmp_path).jobs()
    assert len(caught.value.problems) == plans.PROBLEMS + 1 and "2899 more" in caught.value.problems[-1].what
