"""What tests of submit descriptions share: a recipe, its built files, and condor_submit's own parser."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.condor import emit
from roost.condor.from_recipe import BuiltFiles
from roost.condor.jobs_file import read_jobs
from roost.condor.submit_values import Delivery
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe

MiB = 1 << 20
ROOT = {"name": "root", "format": "qcow2", "partitions": [{"mount": "/", "free": "512MiB"}]}
IO = {"name": "io", "filesystem": "ext4", "size": "256MiB", "role": "io"}
BUILT = BuiltFiles(
    Path("/images/debian-12"),
    {
        "root.qcow2": 1300 * MiB,
        "root.raw": 1300 * MiB,
        "io.raw": 256 * MiB,
        "vmlinuz": 7 * MiB,
        "initrd.img": 30 * MiB,
    },
)


def submit_description(
    recipe: Recipe, hypervisor: Hypervisor, *, snippet: bool = False, templates: Sequence[Path] = (), **how: Any
) -> str:
    """Return the submit description of a recipe; `how` are fields of its `Delivery`, `jobs` a file or its content."""
    jobs = how.pop("jobs", None)
    delivery = Delivery(**how, jobs=read_jobs(jobs) if isinstance(jobs, Path) else jobs)
    emitted = emit.submit_description(recipe, hypervisor, delivery, templates=templates)
    return emitted.snippet() if snippet else emitted.text


def recipe(**changes: Any) -> Recipe:
    """Return a two-disk recipe for both hypervisors, with keys replaced."""
    values: dict[str, Any] = {
        "name": "debian-12",
        "description": "Debian 12 that runs one job",
        "os": {"debian": {"suite": "bookworm"}},
        "job": {"command": "/opt/job/run"},
        "disks": [ROOT, IO],
        "hypervisors": ["kvm", "xen"],
        "submit": {"return": ["io"]},
    }
    return Recipe.model_validate({**values, **changes})


@dataclass
class CondorSubmit:
    """condor_submit's parser from the htcondor wheel, in a process of its own: odd input can end it."""

    process: subprocess.Popen[str]

    def answer(self, text: str) -> dict[str, Any]:
        """Return {"accepted", "message", "ad"} for a description."""
        assert self.process.stdin is not None and self.process.stdout is not None
        self.process.stdin.write(json.dumps(text) + "\n")
        self.process.stdin.flush()
        answer: dict[str, Any] = json.loads(self.process.stdout.readline())
        return answer

    def ad(self, text: str) -> dict[str, str]:
        """Return the first job's ad, strings without their quotes; fail when condor_submit refuses."""
        answer = self.answer(text)
        assert answer["accepted"], f"{answer['message']}\n{text}"
        found: dict[str, str] = answer["ad"]
        return found


@contextmanager
def condor_submit() -> Iterator[CondorSubmit]:
    """Start the parser, and end it."""
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "roost.condor.oracle"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env={**os.environ, "CONDOR_CONFIG": os.devnull},
    ) as process:
        try:
            yield CondorSubmit(process)
        finally:
            process.kill()


def jobs_of(text: str) -> list[dict[str, Any]]:
    """Return the ads of every row of a description, from condor_submit's parser."""
    script = (
        "import htcondor, json, sys\n"
        "ads = htcondor.Submit(sys.stdin.read()).jobs(count=1, clusterid=7)\n"
        "print(json.dumps([{k: str(v) for k, v in ad.items()} for ad in ads]))\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "CONDOR_CONFIG": os.devnull},
    )
    assert done.returncode == 0, done.stderr
    answer: list[dict[str, Any]] = json.loads(done.stdout.splitlines()[-1])
    return answer
