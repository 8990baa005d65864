"""The workflow as text, judged by HTCondor's own reader; what jobs took; the wheel and the kits."""

from __future__ import annotations

import os
import subprocess
import sys
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import htcondor
import pytest

from roost.errors import HostError, UsageError
from roost.factory import dagman, kit, task, usage, wheel
from roost.factory.graph import Graph, Kind, Needs, Node
from roost.factory.outcome import Failure, Outcome
from roost.factory.usage import Usage

MIB = 1 << 20


def graph() -> Graph:
    nodes = [Node("layer 1", "layer", "layer 1")]
    for name in ("a.b", "a+b"):
        nodes += [
            Node(f"image /build/{name}", "image", name, name, ("layer 1",)),
            Node(f"boot /build/{name}", "boot", name, name, (f"image /build/{name}",), Needs(512 * MIB, core=True)),
            Node(f"publish /build/{name}", "publish", name, name, (f"boot /build/{name}",)),
        ]
    return Graph.of(nodes)


def flow(**more: Any) -> dagman.Workflow:
    one = graph()
    inputs: Mapping[str, list[str]] = {key: ["kits/kit-1.tar", "out/x.tar"] for key in one.nodes}
    given: dict[str, Any] = {
        "graph": one, "names": dagman.names(one), "inputs": inputs, "home": Path("/srv/dag"),
        "python": ("/opt/my python/bin/python", "-P"), "path": "/opt/it's $roost",
    }  # fmt: skip
    return dagman.Workflow(**{**given, **more})


def test_the_workflow_has_each_node_and_need_of_the_graph() -> None:
    text = dagman.render(flow())
    lines = text.splitlines()
    names = dagman.names(graph())
    assert sorted(names.values()) == sorted(
        ["layer_1"] + [f"{kind}_{name}" for kind in ("image", "boot", "publish") for name in ("a_b", "a_b_2")]
    )
    edges = {tuple(line.split()[1::2]) for line in lines if line.startswith("PARENT")}
    assert edges == {(names[need], names[node.key]) for node in graph() for need in node.after}
    assert "FINAL report report.sub DIR /srv/dag" in lines
    assert "RETRY boot_a_b 2 UNLESS-EXIT 2" in lines and "CATEGORY publish_a_b publish" in lines
    assert "MAXJOBS publish 1" in lines and not any(line.startswith("MAXJOBS boot") for line in lines)
    assert {"MAXJOBS boot 7", "CATEGORY boot_a_b boot"} <= set(dagman.render(flow(jobs=7)).splitlines())


def test_what_earlier_jobs_took_is_asked_for_with_a_margin() -> None:
    text = dagman.render(
        flow(used={"image_a_b": Usage(memory=4000, disk=100), "boot_a_b": Usage(memory=10, disk=8000)})
    )
    assert 'VARS image_a_b node="image_a_b" inputs="kits/kit-1.tar, out/x.tar" memory="5000" disk="512"' in text
    # A guest has its memory whatever was seen.
    assert 'memory="1024" disk="10000"' in text


def described(kind: str, **variables: str) -> dict[str, Any]:
    submit = htcondor.Submit(dagman.descriptions(flow())[f"{kind}.sub"])
    for name, value in variables.items():
        submit[name] = value
    return dict(next(iter(submit.jobs(1, clusterid=1))).items())


@pytest.mark.parametrize("kind", ["layer", "image", "boot"])
def test_jobs_are_of_the_vanilla_universe_and_have_their_files_transferred(kind: Kind) -> None:
    ad = described(kind, node="n", inputs="kits/kit-1.tar", memory="1024", disk="2048")
    assert ad["JobUniverse"] == 5 and ad["Cmd"].endswith("/node") and ad["Arguments"] == "n"
    wanted = {"wheels", "index.tar", "tasks/n.json", "kits/kit-1.tar"} | ({"verdict.key"} if kind == "boot" else set())
    assert set(ad["TransferInput"].split(",")) == wanted
    assert ad["TransferOutputRemaps"] == "n.tar = out/n.tar; n.result.json = results/n.result.json"
    assert "JobStatus == 5" in str(ad["PeriodicRemove"])
    assert ad["RequestMemory"] == 1024 and ad["RequestDisk"] == 2048 * 1024 and ad["RequestCpus"] == 1


@pytest.mark.parametrize("kind", ["publish", "report"])
def test_publications_and_the_report_run_on_the_access_point(kind: str) -> None:
    ad = described(kind, node="n")
    assert ad["JobUniverse"] == 12 and ad["Cmd"] == "/opt/my python/bin/python"
    assert ad["Arguments"] == f"-P -m roost.cli.factory_job --at /srv/dag {'n' if kind == 'publish' else 'report'}"
    # The ad's own syntax: what has a quote or a blank in it is in single quotes, part by part.
    assert "PYTHONPATH=/opt/it''''s' '$roost" in str(ad["Environment"])


def test_a_container_image_is_the_jobs_own() -> None:
    texts = dagman.descriptions(flow(container="docker://example/roost:1"))
    assert "container_image = docker://example/roost:1" in texts["boot.sub"]
    assert "container_image" not in texts["publish.sub"]


LOG = """\
000 (012.000.000) 2026-11-26 18:00:00 Job submitted from host: <127.0.0.1:9618>
    DAG Node: image_a
...
001 (012.000.000) 2026-11-26 18:00:05 Job executing on host: <127.0.0.1:9618>
...
005 (012.000.000) 2026-11-26 18:01:00 Job terminated.
\t(1) Normal termination (return value 0)
\tPartitionable Resources :    Usage  Request Allocated
\t   Cpus                 :     0.51        1         1
\t   Disk (KB)            :   204801  8388608   8400000
\t   Memory (MB)          :      612     2048      2048
...
000 (013.000.000) 2026-11-26 18:02:00 Job submitted from host: <127.0.0.1:9618>
    DAG Node: image_a
...
005 (013.000.000) 2026-11-26 18:03:00 Job terminated.
\tPartitionable Resources :    Usage  Request Allocated
\t   Disk (KB)            :     1024  8388608   8400000
\t   Memory (MB)          :      700     2048      2048
...
005 (099.000.000) 2026-11-26 18:03:00 Job terminated.
\t   Memory (MB)          :      700     2048      2048
...
"""


def test_what_jobs_took_is_read_out_of_dagmans_log_and_kept(tmp_path: Path) -> None:
    (tmp_path / "log").write_text(LOG)
    seen = usage.of_log(tmp_path / "log")
    assert seen == {"image_a": Usage(memory=700, disk=201)}
    usage.remember(tmp_path / "deep/usage.json", seen)
    usage.remember(tmp_path / "deep/usage.json", {"boot_a": Usage(1, 2)})
    assert usage.read(tmp_path / "deep/usage.json") == {**seen, "boot_a": Usage(1, 2)}
    (tmp_path / "deep/usage.json").write_text("[]")
    assert usage.read(tmp_path / "deep/usage.json") == {}


def test_the_wheel_is_the_running_package_and_runs(tmp_path: Path) -> None:
    made = wheel.write(tmp_path)
    first = made.read_bytes()
    assert wheel.write(tmp_path).read_bytes() == first
    with zipfile.ZipFile(made) as archive:
        names = archive.namelist()
        assert len(names) == len(set(names)) and not any("__pycache__" in name for name in names)
        assert {"roost/cli/main.py", "roost/factory/node.sh", "roost/shipped/kernels/debian.yaml"} <= set(names)
        assert archive.getinfo("roost/sources/hooks/download").external_attr >> 16 & 0o111
        record = archive.read("roost-0.1.0.dist-info/RECORD").decode()
        assert len(record.splitlines()) == len(names)
    # pip reads it, and finds nothing wrong with its sums.
    install = [sys.executable, "-m", "pip", "install", "--no-deps", "--no-index", "--quiet"]
    subprocess.run([*install, "--target", str(tmp_path / "to"), str(made)], check=True, timeout=120)
    wheel.unpack(made, tmp_path / "lib")
    assert os.access(tmp_path / "lib/roost/sources/hooks/download", os.X_OK)
    env = {**os.environ, "PYTHONPATH": str(tmp_path / "to")}
    argv = [sys.executable, "-P", "-c", "import roost.cli.main as m; print(m.__file__)"]
    done = subprocess.run(argv, env=env, check=True, capture_output=True, text=True, timeout=60)
    assert done.stdout.startswith(str(tmp_path / "to"))


def test_a_kit_keeps_names_links_and_modes(tmp_path: Path) -> None:
    top = tmp_path / "top"
    (top / "recipes/data").mkdir(parents=True)
    (top / "shared").mkdir()
    (top / "recipes/a.yaml").write_text("a")
    (top / "recipes/data/run").write_text("run")
    (top / "recipes/data/run").chmod(0o755)
    (top / "shared/real").write_text("real")
    (top / "recipes/data/link").symlink_to("../../shared/real")
    (top / "recipes/data/odd\nname").write_text("odd")
    files = kit.inputs([top / "recipes/a.yaml"], [(top / "recipes", "data"), (top / "recipes", "absent")])
    kit.pack(top, files, tmp_path / "kit.tar")
    # It may hold what only its owner may read.
    assert (tmp_path / "kit.tar").stat().st_mode & 0o777 == 0o600
    kit.unpack(tmp_path / "kit.tar", tmp_path / "there")
    there = tmp_path / "there"
    assert (there / "recipes/data/link").read_text() == "real" and (there / "recipes/data/link").is_symlink()
    assert os.access(there / "recipes/data/run", os.X_OK)
    assert (there / "recipes/data/odd\nname").read_text() == "odd"
    assert (there / "recipes/a.yaml").stat().st_mtime_ns == (top / "recipes/a.yaml").stat().st_mtime_ns
    with pytest.raises(UsageError, match="another file on another machine"):
        kit.inputs([top / "recipes/a.yaml"], [(top, "/etc/passwd")])


def test_tasks_and_results_are_read_as_they_were_written(tmp_path: Path) -> None:
    one = task.Task("boot_a", "boot", "recipes/a", ".", "kits/kit-1.tar", "layer_1", {"image_a": "recipes/a"})
    task.write(tmp_path / "t.json", one)
    assert task.task(tmp_path / "t.json") == one
    done = Outcome("failed", 1.5, Failure("x\ny", 3, "/log", "tail"), {"version": "1"}, ("note",))
    task.write(tmp_path / "r.json", done)
    assert task.result(tmp_path / "r.json") == done
    (tmp_path / "r.json").write_text("")
    assert task.result(tmp_path / "r.json") is None
    with pytest.raises(HostError, match="cannot be read"):
        task.plan(tmp_path / "absent.json")
    for data in ("{}", "[]", '{"node": 1}', '{"rows": {}}'):
        (tmp_path / "p.json").write_text(data)
        for read in (task.plan, task.task):
            with pytest.raises(
                HostError, match=r"p\.json (?:was not written by this version|cannot be read)"
            ) as raised:
                read(tmp_path / "p.json")
            assert "inv factory --dag" in str(raised.value) and "validation error" not in str(raised.value)
