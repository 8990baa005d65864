"""`inv factory --dag`: the directory of a workflow, and the reports of what its jobs left; nothing is built."""

from __future__ import annotations

import json
import shutil
import tarfile
import time
import zipfile
from pathlib import Path
from typing import Any

import junitparser
import pytest

from roost.errors import RecipeError, UsageError
from roost.events import Silent
from roost.factory import task
from roost.factory.outcome import Failure, Outcome
from roost.host import paths
from roost.pipeline import factory_dag, factory_job
from roost.pipeline.factory import Options
from roost.pipeline.factory_dag import Jobs

SHIPPED = paths.shipped_root()
TINY = """\
name: {name}
os: {{debian: {{suite: bookworm, variant: unpacked, packages: [busybox-static]}}}}
kernel: {{use: debian-cloud, initrd: busybox}}
files: [{{path: /opt/run, source: files/run}}]
disks:
  - name: root
    format: qcow2
    partitions: [{{mount: /, filesystem: ext4, free: 16MiB}}]
machine: {{memory: 256MiB, cpus: 1, network: none}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with a matrix and a recipe that stands on one of its images; no archive is asked."""
    top = tmp_path.resolve() / "project"
    (top / "recipes/files").mkdir(parents=True)
    (top / "recipes/files/run").write_text("run")
    shutil.copytree(SHIPPED / "kernels", top / "kernels")
    (top / "recipes/two.yaml").write_text(TINY.format(name="two") + "matrix: {hostname: [a, b]}\n")
    (top / "recipes/top.yaml").write_text(
        "name: top\nos: {image: {recipe: two-a}}\ndisks: [{name: root, format: qcow2}]\n"
        "machine: {memory: 256MiB, cpus: 1, network: none}\n"
    )
    monkeypatch.chdir(top)
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    asked: list[Any] = []
    monkeypatch.setattr("roost.pipeline.planning.plan", asked.append)
    return top


def written(project: Path, *names: str, jobs: Jobs | None = None, **options: Any) -> factory_dag.Written:
    return factory_dag.write(names, project.parent / "dag", Options(**options), jobs or Jobs(), Silent())


def test_the_directory_has_all_that_jobs_need(project: Path) -> None:
    one = written(project, publish="../catalogue")
    home = one.directory
    dag = (home / "factory.dag").read_text()
    assert one.nodes == 1 + 3 * 3 and dag.count("\nJOB ") == one.nodes
    for line in dag.splitlines():
        if line.startswith("VARS") and "inputs=" in line:
            for item in line.split('inputs="')[1].split('"')[0].split(", "):
                # What other nodes leave is not there yet.
                assert item.startswith(("out/", "results/")) or (home / item).is_file()
    assert (home / "verdict.key").read_bytes() == (home / "state/verdict.key").read_bytes()
    assert {(home / name).stat().st_mode & 0o777 for name in ("verdict.key", "state/verdict.key")} == {0o600}
    assert (home / "node").stat().st_mode & 0o111
    plan = task.plan(home / "plan.json")
    assert plan.publish == str(project.parent / "catalogue")
    assert [row.called for row in plan.rows] == ["top", "two-a", "two-b"]
    said = one.to_json()
    json.dumps(said)
    assert said["dag"] == str(home / "factory.dag") and said["ok"]


def test_a_kit_is_the_recipe_with_what_it_names_and_depends_on(project: Path) -> None:
    home = written(project, "top").directory
    one = task.task(home / "tasks/image_top.json")
    assert one.images == {"image_two-a": "recipes/two-a"} and one.recipe == "recipes/top"
    with tarfile.open(home / one.kit) as archive:
        names = set(archive.getnames())
    assert {"recipes/top.yaml", "recipes/two.yaml", "recipes/files/run", "kernels/debian-cloud.yaml"} <= names


def test_the_wheel_asks_for_what_a_build_needs(project: Path) -> None:
    home = written(project, "top").directory
    (wheel,) = (home / "wheels").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        (name,) = (one for one in archive.namelist() if one.endswith("/METADATA"))
        metadata = archive.read(name).decode()
    for text in (metadata, (home / "wheels/requirements.txt").read_text()):
        assert "pydantic==" in text and "cyclonedx-python-lib" in text and "s3fs" not in text


def test_jobs_on_the_access_point_find_the_libraries_of_whoever_wrote_them(
    project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", "/opt/libraries::own")
    home = written(project, "top").directory
    line = f'environment = "PYTHONPATH={home}/lib:/opt/libraries:{project}/own"'
    assert line in (home / "report.sub").read_text().splitlines()


def test_a_broken_recipe_is_named_and_the_others_are_in_the_workflow(project: Path) -> None:
    path = project / "recipes/two.yaml"
    path.write_text(path.read_text().replace("[a, b]", "[a, 'not a name!']"))
    (project / "recipes/far.yaml").write_text(TINY.format(name="far").replace("files/run", "/etc/hostname"))
    (project / "recipes/near.yaml").write_text(TINY.format(name="near") + "submit: {transfer: shared}\n")
    one = written(project)
    broken = {row.called: row.broken.brief for row in one.images if row.broken}
    assert len(broken) == 3 and [row.called for row in one.images if not row.broken] == ["top", "two-a"]
    assert "another file on another machine" in broken["far"] and "transfer is shared" in broken["near"]
    assert one.code == 2 and not one.to_json()["ok"]
    assert "far" not in (one.directory / "factory.dag").read_text()


def test_xens_first_domain_is_made_by_one_job_for_all_boots_under_xen(project: Path) -> None:
    path = project / "recipes/two.yaml"
    path.write_text(path.read_text() + "hypervisors: [kvm, xen]\n")
    home = written(project, "two").directory
    assert task.task(home / "tasks/layer_xen-dom0.json").dom0 == "layer_xen-dom0"
    dag = (home / "factory.dag").read_text()
    for name in ("two-a", "two-b"):
        one = task.task(home / f"tasks/boot_{name}.json")
        assert one.dom0 == "layer_xen-dom0" and one.layer is None
        assert f"PARENT layer_xen-dom0 CHILD boot_{name}" in dag
        assert f'inputs="{one.kit}, out/layer_xen-dom0.tar, out/image_{name}.tar"' in dag
        assert task.task(home / f"tasks/image_{name}.json").dom0 is None


def test_a_directory_that_exists_is_not_replaced(project: Path) -> None:
    home = written(project).directory
    with pytest.raises(UsageError, match="exists already") as raised:
        written(project)
    assert "condor_submit_dag" in str(raised.value) and (home / "factory.dag").is_file()


def test_a_path_that_dagman_cannot_read_is_refused_and_leaves_nothing(project: Path) -> None:
    with pytest.raises(RecipeError, match="DAGMan cannot read the path"):
        factory_dag.write([], project.parent / "a dag", Options(), Jobs(), Silent())
    assert not (project.parent / "a dag").exists()


@pytest.mark.parametrize("image", ["x y", "", "a\nqueue 5", "$(x)"])
def test_what_is_not_a_container_image_is_refused(image: str) -> None:
    with pytest.raises(UsageError):
        Jobs(image)


def left(home: Path, node: str, done: Outcome) -> None:
    task.write(home / f"results/{node}.result.json", done)


VERDICT = {
    "hypervisor": "kvm", "passed": True, "cause": None, "phase": "job", "detail": "did its job", "console": "",
    "accelerator": "tcg", "seconds": 3.0, "finished": "", "report": "/scratch/work/build/two-a/boot/report.html",
}  # fmt: skip


def test_the_catalogue_of_a_workflow_is_a_url_or_an_absolute_path() -> None:
    assert factory_dag._catalogue("file:///srv/x") == factory_dag._catalogue("/srv/x") == "/srv/x"
    assert factory_dag._catalogue("s3://bucket/x") == "s3://bucket/x" and factory_dag._catalogue(None) is None


def test_the_report_tells_what_the_jobs_left(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home = written(project, publish="../catalogue", jobs=Jobs(reports={"junit": str(project / "j.xml")})).directory
    boot = project / "boot"
    (boot / "kvm").mkdir(parents=True)
    (boot / "report.html").write_text("the report")
    with tarfile.open(home / "out/boot_two-a.tar", "w") as archive:
        archive.add(boot, "boot")
    left(home, "image_two-a", Outcome("done", 5.0))
    left(home, "boot_two-a", Outcome("done", 6.0, facts={"verdicts": [VERDICT]}))
    left(home, "publish_two-a", Outcome("done", 1.0, facts={"version": "1", "url": "/c/two-a/1"}))
    left(home, "image_two-b", Outcome("failed", 2.0, Failure("no space", 3)))
    (home / "results/image_top.result.json").write_text("")
    assert factory_job.on_access_point("report", home, Silent(), str) == 3  # type: ignore[arg-type]
    said = json.loads((home / "result.json").read_text())
    images = {one["name"]: one for one in said["images"]}
    assert images["two-a"]["published"] and images["two-a"]["booted"] and images["two-a"]["seconds"] == 12.0
    assert images["two-b"]["cause"] == "build: no space" and images["two-b"]["steps"]["test boot"]["state"] == "skipped"
    assert "left no result" in images["top"]["cause"] and images["top"]["fault"] == "host"
    assert 0 <= said["seconds"] < time.time()
    assert junitparser.JUnitXml.fromfile(str(project / "j.xml")).errors == 2
    page = (home / "html/index.html").read_text()
    assert "report of the test boot" in page
    assert any(path.read_text() == "the report" for path in (home / "html/boot").rglob("report.html"))


@pytest.mark.parametrize("publish", [True, False])
@pytest.mark.parametrize("failed", [True, False])
def test_what_the_nodes_left_each_other_is_removed_at_the_end(publish: bool, failed: bool, project: Path) -> None:
    """Not after a failure: the rescue file counts on it. An image that was not published is what was asked for."""
    options: dict[str, Any] = {"publish": "../catalogue"} if publish else {}
    home = written(project, "two-a", **options).directory
    (project / "boot").mkdir()
    (project / "boot/report.html").write_text("the report")
    for name in ("layer_x", "image_two-a", "boot_two-a"):
        with tarfile.open(home / f"out/{name}.tar", "w") as archive:
            archive.add(project / "boot", "boot")
    left(home, "image_two-a", Outcome("done", 5.0))
    left(home, "boot_two-a", Outcome("failed" if failed else "done", 6.0, facts={"verdicts": [VERDICT]}))
    left(home, "publish_two-a", Outcome("done", 1.0, facts={"version": "1", "url": "/c/two-a/1"}))
    all_of_it = {"layer_x.tar", "image_two-a.tar", "boot_two-a.tar"}
    stay = all_of_it if failed else set() if publish else {"image_two-a.tar"}
    for _ in range(2):
        code = factory_job.on_access_point("report", home, Silent(), str)  # type: ignore[arg-type]
        assert (code != 0) is failed
        assert {path.name for path in (home / "out").iterdir()} == stay
        # The reports are there after the second time too.
        assert any(path.read_text() == "the report" for path in (home / "html/boot").rglob("report.html"))


@pytest.mark.parametrize("link", ["boot/report.html", "boot/kvm", "boot"])
def test_a_job_cannot_have_a_file_of_the_access_point_shown(link: str, project: Path) -> None:
    home = written(project).directory
    secret = project / "secret"
    (secret / "kvm").mkdir(parents=True)
    for name in ("report.html", "serial.log", "kvm/serial.log"):
        (secret / name).write_text("a secret")
    (project / "link").symlink_to(secret / "report.html" if link.endswith("html") else secret)
    with tarfile.open(home / "out/boot_two-a.tar", "w") as archive:
        archive.add(project / "link", link)
    left(home, "image_two-a", Outcome("done", 5.0))
    outside = {**VERDICT, "report": "/x/boot/../../../../../project/secret/report.html"}
    left(home, "boot_two-a", Outcome("done", 6.0, facts={"verdicts": [VERDICT, outside]}))
    assert factory_job.on_access_point("report", home, Silent(), str) == 3  # type: ignore[arg-type]
    files = [path for path in (home / "html").rglob("*") if path.is_file()]
    assert files and not any("a secret" in path.read_text() for path in files)
    assert "did its job" in (home / "result.json").read_text()


@pytest.mark.parametrize(
    ("facts", "seconds", "failure"),
    [
        ({"verdicts": "yes"}, 1.0, None),
        ({"verdicts": [{"hypervisor": "kvm"}]}, 1.0, None),
        ({"verdicts": [{**VERDICT, "hypervisor": "../kvm"}]}, 1.0, None),
        ({"verdicts": [{**VERDICT, "seconds": "long"}]}, 1.0, None),
        ({}, 1.0, Failure("odd", 130)),
    ],
)
def test_a_result_that_is_not_valid_is_reported(
    facts: dict[str, Any], seconds: float, failure: Failure, project: Path
) -> None:
    home = written(project).directory
    left(home, "image_two-a", Outcome("failed" if failure else "done", seconds, failure, facts))
    left(home, "boot_two-a", Outcome("done", seconds, facts=facts))
    assert factory_job.on_access_point("report", home, Silent(), str) == 3  # type: ignore[arg-type]
    images = {one["name"]: one for one in json.loads((home / "result.json").read_text())["images"]}
    assert "left no result" in images["two-a"]["cause"]
