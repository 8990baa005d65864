"""The result of a test boot: the verdict with everything that belongs to it, and its JSON contract."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from roost.boot import proof
from roost.boot.accelerator import Accelerator
from roost.boot.drive import Screen
from roost.boot.evidence import Evidence
from roost.boot.trials import Trials
from roost.boot.verdict import Verdict


@dataclass(frozen=True, slots=True)
class FileSum:
    """A file that was booted: its name, its sha256 in hexadecimal, its size and its virtual size, in bytes."""

    name: str
    sha256: str
    size: int = 0
    virtual: int | None = None


@dataclass(frozen=True, slots=True)
class BootResult:
    """A verdict and everything that belongs to it; `to_json` is the contract of `inv boot --json`."""

    name: str
    verdict: Verdict
    evidence: Evidence
    accelerator: Accelerator
    machine: str
    hypervisor: str
    seconds: Mapping[str, float]
    disks: tuple[FileSum, ...]
    kernel: tuple[FileSum, ...]
    console: str
    serial_log: Path
    report: Path
    argv: tuple[str, ...]
    finished: str
    memory: int
    cpus: int
    screen: Screen = field(default_factory=Screen)
    trials: Trials = field(default_factory=Trials)
    bases: tuple[FileSum, ...] = ()
    test: str | None = None
    inputs: tuple[str, ...] = ()
    #: The hypervisor's version if known, such as "Xen 4.17.6".
    version: str = ""

    @property
    def passed(self) -> bool:
        """Whether the boot passed."""
        return self.verdict.passed

    def to_json(self) -> dict[str, Any]:
        """Return the JSON contract of `inv boot NAME --json`."""
        probe = self.accelerator.probe
        return {
            "name": self.name,
            "passed": self.verdict.passed,
            "phase": self.verdict.phase,
            "cause": self.verdict.cause,
            "detail": self.verdict.detail,
            "notes": list(self.verdict.notes),
            "accelerator": self.accelerator.name,
            "factor": self.accelerator.factor,
            "kvm": {"state": probe.state, "seen": probe.seen, "fix": probe.fix} if probe else None,
            "hypervisor": self.hypervisor,
            "hypervisor_version": self.version or None,
            "machine": self.machine,
            "cpu": self.accelerator.cpu,
            "cpus": self.cpus,
            "memory": self.memory,
            "seconds": dict(self.seconds),
            "limit": None if self.evidence.limit is None else round(self.evidence.limit, 1),
            "expectations": [
                {"what": one.what, "met": one.met, "seen": one.seen} for one in self.evidence.expectations
            ],
            "filesystems": [
                {"disk": one.disk, "partition": one.partition, "type": one.type, "clean": one.clean, "seen": one.seen}
                for one in self.evidence.filesystems
            ],
            "eviction": self.trials.eviction.to_json("obeyed"),
            "checkpoint": self.trials.checkpoint.to_json("restored"),
            "job": dict(self.evidence.status) if self.evidence.status else None,
            "job_log": list(self.evidence.job_log),
            "not_ready": proof.not_run(self.evidence) or None,
            "waits": [{"what": one.what, "seconds": one.seconds} for one in self.evidence.waits],
            "disks": [{"name": one.name, "sha256": one.sha256} for one in self.disks],
            "kernel": [{"name": one.name, "sha256": one.sha256} for one in self.kernel],
            "bases": [{"name": one.name, "sha256": one.sha256} for one in self.bases],
            "test": self.test,
            "inputs": list(self.inputs),
            "console": self.console,
            "screen": str(self.report.parent / self.hypervisor / "screen.png") if self.screen.picture else None,
            "screen_text": self.screen.text,
            "serial_log": str(self.serial_log),
            "report": str(self.report),
            "finished": self.finished,
        }
