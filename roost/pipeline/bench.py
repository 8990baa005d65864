"""Build and boot costs, measured in one run: for claims that a unit test with a clock cannot verify.

A test boot is compared with bare QEMU; builds in rounds (`bench_rounds`) with mmdebstrap and mkosi.

CPU seconds are user and system time of the whole process tree. On noisy machines they are more reliable than wall
seconds, and a ratio of two consecutive measurements is more reliable than both.
"""

from __future__ import annotations

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from roost.boot import qemu
from roost.errors import ToolError, UsageError
from roost.events import Events
from roost.host import paths, process
from roost.pipeline import bench_report, bench_rounds
from roost.pipeline.bench_report import Cost
from roost.pipeline.bench_rounds import ROOST, Place


def measured(argv: Sequence[str | Path], *, cwd: Path, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command to its end and return its cost; raise `ToolError` when it fails."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.monotonic()
    words = [str(word) for word in argv]
    # Not through roost.host.process: only the CPU time of the command's own children may count.
    done = subprocess.run(
        words, cwd=cwd, env={**os.environ, **(env or {})}, stdin=subprocess.DEVNULL, capture_output=True, check=False
    )
    wall = time.monotonic() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode != 0:
        raise ToolError(f"{words[0]} failed", argv=words, returncode=done.returncode, tail=process.tail(done.stderr))
    return Cost(wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


#: Boots are short and the host is shared: the fastest of this many counts.
BOOTS = 3


def _bare(image: Path) -> list[str | Path]:
    """Return the command line of a bare QEMU that boots `smoke` as its test boot does."""
    argv: list[str | Path] = [qemu.program(), "-accel", "tcg", "-cpu", "max", "-m", "256", "-nodefaults"]
    argv += ["-display", "none", "-no-reboot", "-serial", "stdio"]
    for name, kind in (("root.qcow2", "qcow2"), ("io.raw", "raw")):
        argv += ["-drive", f"file={image / name},if=virtio,format={kind},snapshot=on"]
    return argv


def run(events: Events, rounds: int) -> dict[str, Any]:
    """Measure a test boot and bare QEMU, and in each round, in sequence, what `bench_rounds` lists.

    Builds start without cached trees, lists and selections; libguestfs' appliance and the probe of KVM belong to the
    host and are made once. Packages are downloaded in advance for roost and its peers alike. Raises `UsageError` for
    fewer rounds than one.
    """
    if rounds < 1:
        raise UsageError(f"--rounds is {rounds}", hint="1 or more; a meaningful median needs 3")
    project = paths.project_root()
    with tempfile.TemporaryDirectory(prefix="roost-bench-", dir="/var/tmp") as name:
        scratch = Path(name)
        scratch.chmod(0o755)
        for directory in ("recipes", "kernels"):
            (scratch / directory).symlink_to(project / directory)
        env = {"ROOST_CACHE": str(scratch / "cache")}
        taken: dict[str, list[Cost]] = {}

        def measure(what: str, argv: Sequence[str | Path], more: Mapping[str, str] | None = None) -> None:
            events.begin(what, "")
            taken.setdefault(what, []).append(measured(argv, cwd=scratch, env={**env, **(more or {})}))
            events.end(what, taken[what][-1].wall, True)

        measure("host", [*ROOST, "build", "smoke", "--json"])
        for _ in range(BOOTS):
            measure("boot", [*ROOST, "boot", "smoke", "--accel", "tcg", "--json"])
            measure("bare QEMU", _bare(scratch / "build" / "smoke"))
        notes = bench_rounds.run(measure, Place(scratch, project), rounds)
    found = bench_report.report({what: costs for what, costs in taken.items() if what != "host"})
    boot, bare = (min(cost.wall for cost in taken[what]) for what in ("boot", "bare QEMU"))
    return {**found, "boot_adds_seconds": round(boot - bare, 2), "notes": notes}
