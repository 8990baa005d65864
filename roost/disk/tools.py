"""The common parameters of all writers of a disk: the same for all disks of a build."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from roost.host import accelerator
from roost.host.accelerator import ApplianceAccelerator
from roost.host.namespace import Namespace


@dataclass(frozen=True, slots=True)
class Tools:
    """Where commands run, the time of all files, and the directory of logs.

    No time on a disk is later than `epoch`, in seconds since 1970. `accelerator` is determined only if libguestfs'
    appliance is needed: for xfs and btrfs.
    """

    namespace: Namespace
    epoch: int
    log_dir: Path
    accelerator: ApplianceAccelerator = field(default_factory=lambda: accelerator.known("tcg"))
    #: GRUB's modules for BIOS, None for the host's.
    grub: Path | None = None

    def log(self, name: str) -> Path:
        """Return the path of a tool's log."""
        return self.log_dir / f"{name}.log"
