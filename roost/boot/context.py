"""The input of a test boot, in one value for all its steps."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roost.boot.domain import HostXen
from roost.boot.xen_machine import FirstDomain
from roost.condor.machine import VirtualMachine
from roost.events import Events
from roost.iodisk.inputs import Input
from roost.recipe.model import Recipe

#: Receives each byte of the console as it arrives.
Echo = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class How:
    """How a machine is run: `accel` is auto, kvm or tcg, `machine` QEMU's machine type for kvm.

    `evict` selects whether HTCondor's eviction is tried, None as the recipe says.
    """

    accel: str = "auto"
    machine: Literal["pc", "q35"] = "pc"
    require_kvm: bool = False
    evict: bool | None = None


DEFAULT = How()


@dataclass(frozen=True, slots=True)
class Given:
    """A job to run instead of the test's: its io disk, which is not modified, and the time limit of its machine.

    The limit is in seconds of wall time, whatever the accelerator.
    """

    disk: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Context:
    """What to boot, what is known about it, and how: the machine `vm`, whose file names are relative to `directory`.

    `recipe` has the expectations (None: nothing is known). `bases` are the backing files of disks, which the verdict
    names too; `inputs` are put into the job's input/, on a disk made for this boot; `test` is the key of the test
    (`roost.customize.inputs.boot_key`); `first` is Xen and its first domain, or the host's Xen, for a xen machine.
    `events` and `echo` receive progress and console. `job` is a job run for its own sake, not as a test.
    """

    vm: VirtualMachine
    directory: Path
    recipe: Recipe | None = None
    bases: Sequence[str] = ()
    inputs: Sequence[Input] = ()
    test: str | None = None
    first: FirstDomain | HostXen | None = None
    how: How = DEFAULT
    events: Events | None = None
    echo: Echo | None = None
    job: Given | None = None

    @property
    def kernel_files(self) -> list[str]:
        """The kernel files next to the image."""
        kernel = self.vm.kernel
        return [name for name in (kernel.kernel, kernel.initrd) if name] if kernel else []

    @property
    def files(self) -> list[str]:
        """All files that the machine consists of."""
        return [*(disk.file for disk in self.vm.disks), *self.kernel_files, *self.bases]

    def path(self, name: str | None) -> Path | None:
        """Return the absolute path of a file that the machine names."""
        return self.directory.absolute() / name if name else None
