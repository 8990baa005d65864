"""The description of a run's jobs, as condor_submit's own parser reads it: one cluster, or one for all nodes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from roost.condor import oracle
from roost.condor.jobs_file import parse_jobs
from roost.condor.lint import lint_text
from roost.errors import RecipeError
from roost.recipe import loader
from roost.run import description
from roost.run.description import ForNodes, Wanted
from roost.run.model import Image, Job
from roost.run.place import Place
from roost.store.manifest import BuiltFile

PROJECT = Path(__file__).resolve().parents[3]
TABLE = 'io,inputs,note\ndisks/a.raw,x y,plain\ndisks/b.raw,z,"two words, a ""quote"" and $(Cluster) \\ end"\n'
TOKEN = "0123456789abcdef"


def image(tmp_path: Path, table: str = TABLE, **submit: Any) -> Image:
    loaded = loader.load("smoke", PROJECT)
    changed = loaded.recipe.submit.model_copy(update=submit)
    jobs = parse_jobs(table, "jobs.csv", tmp_path)
    names = [Path(row[0]).stem for row in jobs.rows]
    return Image(
        replace(loaded, recipe=loaded.recipe.model_copy(update={"submit": changed})),
        jobs,
        tuple(Job(name, "smoke") for name in names),
    )


def built(name: str, form: str) -> BuiltFile:
    return BuiltFile(name, form, "0" * 64, 64 << 20, 1 << 20, 1 << 20, 0)


def wanted(one: Image) -> Wanted:
    files = [built("root.qcow2", "qcow2"), built("io.raw", "raw")]
    return Wanted(one, files, range(len(one.jobs)), TOKEN, "pool/x.log")


def ad(text: str) -> dict[str, str]:
    told = oracle.answer(text)
    assert told["accepted"], told
    found: dict[str, str] = told["ad"]
    return found


def test_one_cluster(tmp_path: Path) -> None:
    values = description.describe(wanted(image(tmp_path)), Place(tmp_path))
    text = description.cluster(values)
    assert text.count("\nqueue") == 1
    found = ad(text)
    assert (found["RoostRun"], found["RoostJob"]) == (TOKEN, "a")
    assert found["TransferOutputRemaps"] == "a.raw = returned/a-1.0.raw"
    assert f"{PROJECT}/build/smoke/root.qcow2,disks/a.raw" in found["TransferInput"]
    assert found["UserLog"].endswith("pool/x.log")
    assert lint_text(text, "x.sub", environment={}).ok


def nodes(one: Image, tmp_path: Path) -> ForNodes:
    values = description.describe(wanted(one), Place(tmp_path))
    return description.for_nodes(values, 600, one.table)


def test_one_description_for_all_nodes(tmp_path: Path) -> None:
    made = nodes(image(tmp_path, attributes={"Note": "$(note)"}), tmp_path)
    assert made.text.rstrip().endswith("\nqueue")
    assert "$(io)" in made.text
    assert [one["io"] for one in made.variables] == ["disks/a.raw", "disks/b.raw"]
    second = made.variables[1]
    found = ad("".join(f"{name} = {value}\n" for name, value in second.items()) + made.text)
    assert found["Note"] == 'two words, a "quote" and $(Cluster) \\ end'
    assert found["TransferOutputRemaps"] == "b.raw = returned/b-1.0.raw"
    # DAGMan waits for a held job for ever.
    assert "EnteredCurrentStatus > 600" in found["PeriodicRemove"]


def test_values_that_no_vars_can_carry_are_refused_with_their_place(tmp_path: Path) -> None:
    table = 'io,note\ndisks/a.raw,"one\ntwo"\n'
    with pytest.raises(RecipeError, match="line break") as caught:
        nodes(image(tmp_path, table, attributes={"Note": "$(note)"}), tmp_path)
    assert str(caught.value.problems[0].where).startswith("jobs.csv:")
    # One that nothing refers to reaches the job by its disk alone.
    assert "note" not in nodes(image(tmp_path, table), tmp_path).variables[0]


def test_the_io_disk_always_comes_back_under_a_name_that_is_found_again(tmp_path: Path) -> None:
    for returns in ((), ("root",), ("root", "io")):
        found = ad(description.cluster(description.describe(wanted(image(tmp_path, returns=returns)), Place(tmp_path))))
        assert "a.raw = returned/a-1.0.raw" in found["TransferOutputRemaps"]


def test_shared_disks_change_where_they_are(tmp_path: Path) -> None:
    one = image(tmp_path, "io\ndisks/a.raw\n", transfer="shared")
    found = ad(description.cluster(description.describe(wanted(one), Place(tmp_path))))
    assert f"{tmp_path}/disks/a.raw:vdb:w:raw" in found["VMPARAM_vm_Disk"]
