"""README's and the guides' commands, and the examples of `inv help TASK`: each is run, or says where, or why not."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.documented_commands import ELSEWHERE, IMPOSSIBLE, TYPED, Command, commands
from tests.images.calls import PROJECT, wrapper

pytestmark = pytest.mark.images
OLD = """\
universe = vm
vm_type = kvm
vm_memory = 256
vm_disk = disk.qcow2:vda:w
queue
"""
NODE = """\
universe = vm
executable = node
vm_type = kvm
vm_memory = 256
vm_disk = disk.qcow2:vda:w:qcow2,$(io):vdb:w:raw
transfer_input_files = disk.qcow2,$(io)
arguments = $(serial)
queue
"""
LOG = """\
005 (012.000.000) 2026-11-20 10:00:00 Job terminated.
\t(1) Normal termination (return value 0)
...
"""


def test_each_command_is_run_or_says_where_or_why_not() -> None:
    """No line of the tables is for a command that there no longer is, and what another test runs is in that test."""
    shown = list(commands())
    assert sum(not (one.among(ELSEWHERE) or one.among(IMPOSSIBLE)) for one in shown) > 90
    for table in (ELSEWHERE, IMPOSSIBLE):
        for line in table:
            assert any(one.among((line,)) for one in shown), f"no page has {line[0]}"
    for _, path, part in ELSEWHERE:
        assert part in (PROJECT / path).read_text(), f"{path} has no {part}"
    assert all((PROJECT / path).is_file() for path in TYPED.values())


def _furnish(project: Path, smoke: Path) -> None:
    """Make what the pages' commands find: recipes, jobs, inputs, old submit files, a repository."""
    recipes = project / "recipes"
    for name in ("base", "files"):
        shutil.copytree(PROJECT / "recipes" / name, recipes / name)
    shutil.copytree(PROJECT / "kernels", project / "kernels")
    text = (PROJECT / "recipes/smoke.yaml").read_text()
    text = (
        text.replace("name: smoke\n", "name: sim\n")
        .replace("[kvm, xen]", "[kvm]")
        .replace("timeout: 1min", "timeout: 3min")
    )
    (recipes / "sim.yaml").write_text(text)
    # smoke, which the tests share, has a side for xen.
    (project / "xen").mkdir()
    shutil.copy(PROJECT / "recipes/smoke.yaml", project / "xen")
    shutil.copytree(recipes / "files", project / "xen/files")
    shutil.copytree(smoke, project / "xen/build/smoke")
    shutil.copy(smoke / "root.qcow2", project / "disk.qcow2")
    for name in ("common", "data", "rootfs"):
        (project / name).mkdir()
        (project / name / "numbers.txt").write_text("40\n2\n")
    files = {
        "one.txt": "1\n",
        "two.txt": "2\n",
        "jobs.csv": "io,inputs\nio-1.raw,one.txt\nio-2.raw,two.txt\n",
        "sweep.yaml": "axes:\n  image: [sim]\ninputs: [common/]\n",
        "work.dag": 'JOB one node.sub\nVARS one serial="001" io="a.raw"\n',
        "run.cfg": "3\n",
        "old.sub": OLD,
        "node.sub": NODE,
        "job.log": LOG,
    }
    for name, text in files.items():
        (project / name).write_text(text)
    wrapper(project)
    (project / "bin").mkdir()
    (project / "bin/inv").symlink_to(project / "inv")
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b", "-c", "init.defaultBranch=main"]
    for words in (["init", "-q"], ["add", "recipes"], ["commit", "-qm", "x"]):
        subprocess.run([*git, *words], cwd=project, check=True)
    subprocess.run(["git", "update-ref", "refs/remotes/origin/main", "HEAD"], cwd=project, check=True)


def _run(command: Command, text: str, project: Path) -> str | None:
    """Type a command in a shell; return what is wrong, if anything is."""
    env = {
        **os.environ,
        "XDG_CONFIG_HOME": str(project / "config"),
        "GITHUB_STEP_SUMMARY": str(project / "summary.md"),
        "PATH": f"{project}/bin:{os.environ['PATH']}",
    }
    if re.match(r"inv gc( --|$)", text):
        # Not what the other tests share.
        env["ROOST_CACHE"] = str(project / "cache")
    done = subprocess.run(
        ["bash", "-euc", text],
        cwd=project, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip
    if done.returncode == command.status and "Traceback" not in done.stderr:
        return None
    return f"{command}\n  typed: {text}\n  status {done.returncode}\n{done.stdout[-1500:]}{done.stderr[-1500:]}"


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_what_the_pages_show_works(smoke: Path, tmp_path: Path) -> None:
    _furnish(tmp_path, smoke)
    wrong, seen = [], set()
    for command in commands():
        text = command.typed
        if text in seen or command.among(ELSEWHERE) or command.among(IMPOSSIBLE):
            continue
        seen.add(text)
        if "VERSION" in text:
            text = text.replace("VERSION", json.loads((tmp_path / "images/sim/latest.json").read_text())["version"])
        if text.startswith("inv collect"):
            # As HTCondor names what came back.
            for name in ("io-12-0.raw", "io-12.0.raw"):
                shutil.copy(next((tmp_path / "out/returned").iterdir()), tmp_path / name)
        wrong.append(_run(command, text, tmp_path))
    assert not any(wrong), "\n".join(one for one in wrong if one)
