"""What building costs, measured in one run: the claims that no test with a clock could make.

CPU seconds are user and system of the whole process tree. On noisy machines trust them over wall seconds, and a
ratio of two things measured one after the other over both.
"""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.boot import qemu
from roost.errors import ToolError
from roost.events import Events, Stages
from roost.host import paths, process
from roost.pipeline import planning
from roost.pipeline.context import Context
from roost.recipe import loader
from roost.sources.mmdebstrap import Installed

RECIPE = "debian-12"


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, and of CPU of a command with all of its children."""

    wall: float
    cpu: float

    def to_json(self) -> dict[str, float]:
        """Return both, to a hundredth of a second."""
        return {"wall": round(self.wall, 2), "cpu": round(self.cpu, 2)}


def measured(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return what it cost; raise `ToolError` when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    words = [str(word) for word in argv]
    # Not through the door: its children's CPU is to be counted alone, and it would add its own.
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise ToolError(f"{words[0]} failed", argv=words, returncode=done.returncode, tail=process.tail(done.stderr))
    return Cost(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def _alone(project: Path, scratch: Path, events: Events) -> list[str]:
    """Return mmdebstrap's command line for the same packages, nothing else asked of it."""
    loaded = loader.load(RECIPE, project, (), planning.problems)
    made = planning.plan(Context(loaded, loaded.build, Stages(events), scratch))
    assert isinstance(made.source, Installed)
    source = made.source.wanted.debian
    packages = ",".join(made.source.wanted.packages)
    mirror = [source.mirror] if source.mirror else []
    return [
        "mmdebstrap", "--quiet", "--variant=minbase", f"--include={packages}", source.suite,
        str(scratch / "alone.tar"), *mirror,
    ]  # fmt: skip


#: A boot is short and a host has other things to do: the shortest of so many counts.
BOOTS = 3


def _bare(image: Path) -> list[str | Path]:
    """Return the command line of a QEMU that boots `smoke` as its test boot does, with nothing around it."""
    argv: list[str | Path] = [qemu.program(), "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults"]
    argv += ["-display", "none", "-no-reboot", "-serial", "stdio"]
    for name, kind in (("root.qcow2", "qcow2"), ("io.raw", "raw")):
        argv += ["-drive", f"file={image / name},if=virtio,format={kind},snapshot=on"]
    return argv


def run(events: Events) -> dict[str, Any]:
    """Measure mmdebstrap alone; a build cold, with a changed file, and with nothing changed; a test boot.

    The cold build starts with an empty cache but for libguestfs' appliance and the probe of KVM: both belong to the
    host and are made once. Packages are downloaded afresh by both.
    """
    project = paths.project_root()
    with tempfile.TemporaryDirectory(prefix="roost-bench-", dir="/var/tmp") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        for directory in ("recipes", "kernels"):
            (scratch / directory).symlink_to(project / directory)
        changed = scratch / "changed.yaml"
        text = f"extends: [{project}/recipes/{RECIPE}.yaml]\nname: changed\nhostname: changed\n"
        changed.write_text(text)
        env = {"ROOST_CACHE": str(scratch / "cache")}
        roost = [sys.executable, "-P", "-m", "roost"]
        costs: dict[str, Cost] = {}

        def measure(what: str, argv: Sequence[str | Path]) -> None:
            events.begin(what, "")
            costs[what] = measured(argv, cwd=scratch, env=env)
            events.end(what, costs[what].wall, True)

        measure("host", [*roost, "build", "smoke", "--json"])
        boots: dict[str, list[float]] = {"boot": [], "bare QEMU": []}
        for _ in range(BOOTS):
            measure("boot", [*roost, "boot", "smoke", "--accel", "tcg", "--json"])
            measure("bare QEMU", _bare(scratch / "build" / "smoke"))
            for what, walls in boots.items():
                walls.append(costs[what].wall)
        measure("mmdebstrap alone", _alone(project, scratch, events))
        # smoke shares nothing with it but the kernel's package, which is put away.
        for package in (scratch / "cache/packages").rglob("*.deb"):
            package.unlink()
        measure("cold", [*roost, "build", RECIPE, "--json"])
        measure("other recipe", [*roost, "build", changed, "--json"])
        changed.write_text(f"{text}files:\n  - {{path: /etc/changed, content: changed}}\n")
        measure("changed file", [*roost, "build", changed, "--json"])
        measure("nothing changed", [*roost, "build", changed, "--json"])
    return {
        "costs": {what: cost.to_json() for what, cost in costs.items()},
        "cold_cpu_ratio": round(costs["cold"].cpu / costs["mmdebstrap alone"].cpu, 2),
        "boot_adds_seconds": round(min(boots["boot"]) - min(boots["bare QEMU"]), 2),
    }
