"""A small family, by `inv factory` and by the jobs of its workflow: the same bytes; one broken image stops no other."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path

import junitparser
import pytest

from tests.images.calls import PROJECT, roost

pytestmark = [pytest.mark.images, pytest.mark.slow]
PAIR = "extends: [smoke.yaml]\nname: pair\nhypervisors: !replace [kvm]\nmatrix: {hostname: [one, two]}\n"
#: It boots, and its job fails.
BAD = (
    "extends: [smoke.yaml]\nname: bad\nhypervisors: !replace [kvm]\n"
    "job: {command: /bin/false, timeout: 1min, then: poweroff}\n"
)


class Workflow:
    """Runs a workflow's nodes one after another, each in a directory with what HTCondor would transfer."""

    def __init__(self, home: Path, env: Mapping[str, str]) -> None:
        self.home, self.env = home, {**os.environ, **env}
        text = (home / "factory.dag").read_text()
        self.jobs: list[tuple[str, str]] = re.findall(r"^(?:JOB|FINAL) (\S+) (\S+) DIR", text, re.MULTILINE)
        self.variables = {
            name: dict(re.findall(r'(\w+)="([^"]*)"', rest))
            for name, rest in re.findall(r"^VARS (\S+) (.*)$", text, re.M)
        }
        self.needs: dict[str, set[str]] = {name: set() for name, _ in self.jobs}
        for parent, child in re.findall(r"^PARENT (\S+) CHILD (\S+)$", text, re.MULTILINE):
            self.needs[child].add(parent)

    def run(self) -> dict[str, int]:
        """Return the exit status of each node that ran."""
        done: dict[str, int] = {}
        waiting = [job for job in self.jobs if job[0] != "report"]
        while waiting:
            name, file = next(job for job in waiting if not self.needs[job[0]] & {one for one, _ in waiting})
            waiting.remove((name, file))
            if all(done.get(one) == 0 for one in self.needs[name]):
                done[name] = self._job(name, file)
        return {**done, "report": self._job("report", "report.sub")}

    def _job(self, name: str, file: str) -> int:
        variables = self.variables.get(name, {})
        said = {}
        for line in (self.home / file).read_text().splitlines():
            key, equals, value = line.partition(" = ")
            if equals:
                said[key] = re.sub(r"\$\((\w+)\)", lambda found: variables.get(found[1], found[0]), value)
        if said["universe"] == "local":
            words = said["arguments"].strip('"').split()
            env = {**self.env, **dict([said["environment"].strip('"').split("=", 1)])}
            return subprocess.run(
                [said["executable"], *words], cwd=self.home, env=env, check=False, timeout=300
            ).returncode
        with tempfile.TemporaryDirectory(prefix="job-", dir=self.home.parent) as top:
            box = Path(top)
            box.chmod(0o755)
            shutil.copy2(self.home / said["executable"], box)
            for item in said["transfer_input_files"].split(", "):
                path = self.home / item
                (shutil.copytree if path.is_dir() else shutil.copy2)(path, box / path.name)
            env = {"PATH": os.environ["PATH"], "ROOST_PYTHON": sys.executable}
            done = subprocess.run([f"./{said['executable']}", name], cwd=box, env=env, check=False, timeout=600)
            for pair in said["transfer_output_remaps"].strip('"').split("; "):
                left, _, right = pair.partition(" = ")
                shutil.move(box / left, self.home / right)
            return done.returncode


def sums(catalogue: Path) -> set[str]:
    """Return the lines of the sums of all disks in a catalogue."""
    lines = [line for path in catalogue.glob("*/*/SHA256SUMS") for line in path.read_text().splitlines()]
    return {line for line in lines if line.endswith((".qcow2", ".raw"))}


@pytest.mark.timeout(900)
def test_a_family_here_and_as_a_workflow(project: Path, tmp_path: Path) -> None:
    (project / "recipes/pair.yaml").write_text(PAIR)
    (project / "recipes/bad.yaml").write_text(BAD)
    env = {"ROOST_STATE": str(tmp_path / "state"), "XDG_CONFIG_HOME": str(tmp_path / "config")}
    here, there = tmp_path / "here", tmp_path / "there"

    # Told to end in the middle of its work, it leaves nothing that runs; a rerun goes on.
    argv = [sys.executable, "-P", "-m", "roost", "factory", "pair", "bad", "--publish", str(here)]
    log = tmp_path / "log"
    with log.open("wb") as file:
        stopped = subprocess.Popen(
            argv, cwd=project, env={**os.environ, **env, "PYTHONPATH": str(PROJECT)}, stderr=file
        )
        while b"build ..." not in log.read_bytes():
            time.sleep(0.1)
        time.sleep(2)
        start = time.monotonic()
        stopped.send_signal(signal.SIGTERM)
        assert stopped.wait(timeout=30) == 143
    assert time.monotonic() - start < 10
    assert not [one for one in project.glob("build/*") if one.name.startswith(".") and one.is_dir()]

    junit = tmp_path / "junit.xml"
    ran = roost(
        *("factory", "pair", "bad", "--publish", str(here), "--keep", "2", "--junit", str(junit), "--json"),
        *("--html", str(tmp_path / "html"), "--markdown", str(tmp_path / "summary.md")),
        cwd=project, env=env,
    )  # fmt: skip
    assert ran.code == 1, ran.err
    assert [one["name"] for one in ran.answer["images"] if one["published"]] == ["pair-one", "pair-two"], ran.err
    images = {one["name"]: one for one in ran.answer["images"]}
    assert images["bad"]["built"] and not images["bad"]["booted"] and "job-failed" in images["bad"]["cause"]
    assert junitparser.JUnitXml.fromfile(str(junit)).failures == 1
    assert len(list((tmp_path / "html/boot").rglob("report.html"))) == 3
    assert "bad" in (tmp_path / "summary.md").read_text()
    assert roost("verify", str(here), cwd=project, env=env).code == 0
    again = roost("factory", "pair", "--publish", str(here), "--json", cwd=project, env=env)
    assert again.code == 0, again.err
    assert {step["state"] for one in again.answer["images"] for step in one["steps"].values()} == {"cached"}

    home = tmp_path / "dag"
    ran = roost("factory", "pair", "bad", "--publish", str(there), "--dag", str(home), cwd=project, env=env)
    assert ran.code == 0, ran.err
    done = Workflow(home, env).run()
    assert done.pop("boot_bad") == 1 and done.pop("report") == 1 and "publish_bad" not in done
    assert set(done.values()) == {0} and len(done) == 1 + 3 * 2 + 1
    assert sums(there) == sums(here) != set()
    assert roost("verify", str(there), cwd=project, env=env).code == 0
