"""The input of a test boot, in one value that its steps take."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from roost.boot.domain import HostXen
from roost.boot.xen import FirstDomain
from roost.condor.machine import VirtualMachine
from roost.events import Events
from roost.iodisk.inputs import Input
from roost.recipe.model import Recipe

#: Sees each byte of the console as it comes.
Echo = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class How:
    """How a machine is run: `accel` is auto, kvm or tcg, `machine` QEMU's for kvm.

    `evict` says whether HTCondor's eviction is tried, None what the recipe says.
    """

    accel: str = "auto"
    machine: Literal["pc", "q35"] = "pc"
    require_kvm: bool = False
    evict: bool | None = None


DEFAULT = How()


@dataclass(frozen=True, slots=True)
class Given:
    """A job to run instead of the test's: its io disk, which stays as it is, and the seconds that its machine may take.

    The seconds are by the clock, whatever the accelerator.
    """

    disk: Path
    seconds: float


@dataclass(frozen=True, slots=True)
class Context:
    """What boots, what is known of it, and how: the machine `vm`, whose file names are relative to `directory`.

    `recipe` says what to expect (None: nothing is known of it). `bases` are the files that disks stand on, which the
    verdict names too; `inputs` are put into the job's input/, on a disk made for this boot; `test` is the key of the
    test (`roost.customize.inputs.boot_key`); `first` is Xen and its first domain, or the host's Xen, for a xen machine.
    `events` and `echo` are told of what goes on. `job` is one that is run for its own sake, not as a test.
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
        """The files of a kernel beside the image."""
        kernel = self.vm.kernel
        return [name for name in (kernel.kernel, kernel.initrd) if name] if kernel else []

    @property
    def files(self) -> list[str]:
        """All files that the machine is made of."""
        return [*(disk.file for disk in self.vm.disks), *self.kernel_files, *self.bases]

    def path(self, name: str | None) -> Path | None:
        """Return the absolute path of a file that the machine names."""
        return self.directory.absolute() / name if name else None
