"""Each kind of page that roost writes, as its users get it: catalogue, test boot, run, factory. Nothing is built."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from roost.boot import report as boot_report
from roost.boot.drive import Screen
from roost.boot.verdict import Verdict
from roost.catalogue import read, site
from roost.events import Silent
from roost.factory import page as factory_page
from roost.factory.graph import Kind
from roost.factory.outcome import Failure, Image, Result
from roost.factory.outcome import Outcome as Step
from roost.run import report as run_report
from roost.run.model import VERDICTS, Outcome
from roost.run.result import Result as RunResult
from tests.publish import lab, sample
from tests.unit.boot.test_report import result as boot_result

#: Jobs of the run, images of the factory.
JOBS, IMAGES = 24, 10
REASONS = {
    "failed": "exit code 3",
    "never started": "the io disk shows no trace of the job",
    "killed": "no result: the machine was stopped after 600 s",
    "unreadable": "/dev/vdb: not an ext4 file system",
    "held": "hold code 6: Error from slot1_1@execute-017.pool.example.org: no such file: root.qcow2",
}
PASSED = Verdict(True, "power-off", None, "the guest did its job", ("The console has no kernel messages.",))
FAILED = Verdict(
    False, "initrd", "no-root", "the initrd found no root file system: /dev/vda1 does not exist within 90 s"
)


def write(root: Path) -> Mapping[str, Path]:
    """Write all pages below `root`; return what each shows → its file."""
    pages = {
        "boot passed": _boot(root / "passed", PASSED),
        "boot failed": _boot(root / "failed", FAILED),
        "boot without a console": _boot(root / "mute", FAILED, 0),
        "run": run(root / "run", JOBS),
        "run of one job": run(root / "one", 1),
        "factory": factory(root / "factory", IMAGES),
        "factory of nothing": factory(root / "nothing", 0),
    }
    sample.fill(lab.project(root), str(root / "catalogue"))
    written = site.write(
        read.read(str(root / "catalogue"), Silent()), root / "site",
        public="https://images.example.org/condor", events=Silent(),
    )  # fmt: skip
    for name in (
        "index",
        "images/analysis",
        "images/hostile",
        "versions/analysis/2026.10",
        "versions/experiment/2026.11",
    ):
        pages[f"catalogue {name}"] = written / f"{name}.html"
    return pages


def _boot(root: Path, verdict: Verdict, lines: int = 300) -> Path:
    logs = root / "logs"
    logs.mkdir(parents=True)
    console = "".join(f"[{number / 37:12.6f}] virtio_blk virtio{number}: {number} message\n" for number in range(lines))
    (logs / "serial.log").write_text(console)
    shown = boot_result(root, verdict)
    if not verdict.passed:
        shown = replace(shown, screen=Screen(_picture(), "No root file system"), seconds={**shown.seconds, "initrd": 9})
    boot_report.write(replace(shown, argv=("qemu-system-x86_64", *["-device", "virtio-blk-pci"] * 20)), logs, root)
    return shown.report


def _picture(width: int = 720, height: int = 400) -> bytes:
    """Return a black PNG of one bit a pixel."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = bytes((width // 8 + 1) * height)
    head = struct.pack(">IIBBBBB", width, height, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def run(root: Path, count: int) -> Path:
    """Write the page of a run of `count` jobs: most are done, each other verdict appears."""
    outcomes = []
    for number in range(count):
        verdict = VERDICTS[number // 3 % len(VERDICTS)] if number % 3 == 1 else "done"
        output = root / f"results/job-{number:04}"
        output.mkdir(parents=True)
        (output / "job.log").write_text(f"seed {number}\n" + "step of the simulation finished, energy -1.234e-5\n" * 60)
        (root / f"{number}.log").write_text("[    1.000000] Linux version 6.1.0\n" * 40)
        code = {"done": 0, "failed": 3}.get(verdict)
        made = Outcome(f"job-{number:04}", verdict, code, REASONS.get(verdict, ""), output, 60 + number / 7)
        image = ("simulation", "analysis-of-a-long-name")[number % 2]
        notes = ("the io disk was almost full: 98 %",) if number % 10 == 0 else ()
        outcomes.append(replace(made, image=image, log=root / f"{number}.log", notes=notes))
    about: dict[str, Any] = {"executor": "local", "guests": 2}
    found = RunResult("sweep", root, tuple(outcomes), 812.5, about=about)
    path = root / "report.html"
    path.write_text(run_report.page(found, root), encoding="utf-8", errors="replace")
    return path


def factory(root: Path, count: int) -> Path:
    """Write the page of a factory of `count` images, of which every fifth failed."""
    images = []
    for number in range(count):
        name = f"matrix[{'-'.join(('bookworm', 'trixie', 'noble')[number % 3 :])},size={number}GiB]"
        boot = root / f"build/{number}/boot"
        (boot / "kvm").mkdir(parents=True)
        (boot / "report.html").write_text("<p>the report")
        passed = number % 5 != 3
        said = {
            "hypervisor": "kvm", "passed": passed, "phase": "job", "cause": None, "detail": "", "accelerator": "tcg",
            "console": "", "finished": "2026-11-26T17:52:55Z", "seconds": 12.5, "report": str(boot / "report.html"),
        }  # fmt: skip
        failure = Failure("test boot failed\nin phase job: exit code 2", 1, f"/build/{number}/log", "the tail\n" * 8)
        booted = Step("done" if passed else "failed", 20.0, None if passed else failure, {"verdicts": [said]})
        notes = ("No KVM on this machine.",)
        there = Step("done", 1.0, facts={"version": "2026.11", "url": f"/srv/{number}"}, notes=notes)
        never = Step("skipped", failure=failure)
        steps: dict[Kind, Step] = {"image": Step("cached", 5.0), "boot": booted, "publish": there if passed else never}
        images.append(Image(name, name, str(root / f"build/{number}"), steps))
    found = Result(tuple(images), 1261.0, 2, "/srv/catalogue/of/images", notes=("Nothing was cached.",))
    return factory_page.write(found, root / "page") / "index.html"
