"""What `inv shell` carries in and out, and what it refuses before anything starts."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.condor.machine import VirtualMachine, VmDisk
from roost.errors import ImageError, UsageError
from roost.events import Silent
from roost.pipeline import shell
from roost.pipeline.boot import DEFAULTS
from roost.pipeline.shell import Carried


def test_paths_of_the_guest_and_one_directory() -> None:
    assert shell.carried([], []) == Carried()
    assert shell.carried(["a", "b/"], ["res"]) == Carried(("a", "b/"), (), Path("res"))
    assert shell.carried([], ["/etc/a:b:res", "/x:res"]) == Carried((), ("/etc/a:b", "/x"), Path("res"))


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        (["etc/fstab:res"], "not an absolute path in the guest"),
        (["/etc/fstab:"], "names no directory"),
        ([""], "names no directory"),
        (["a", "b"], "several directories"),
    ],
)
def test_what_cannot_be_carried_is_a_wrong_call(outputs: list[str], said: str) -> None:
    with pytest.raises(UsageError, match=said):
        shell.carried([], outputs)


def test_the_disk_of_files_gets_a_device_that_nobody_has() -> None:
    disks = tuple(VmDisk(f"{name}.raw", f"vd{name}", "w", "raw") for name in ("a", "b", "d"))
    assert shell._free(VirtualMachine("x", "kvm", 256, 1, disks)) == "vde"
    full = tuple(VmDisk("x.raw", f"vd{chr(97 + index)}", "w", "raw") for index in range(26))
    with pytest.raises(ImageError, match="no free device"):
        shell._free(VirtualMachine("x", "kvm", 256, 1, full))


def test_without_a_terminal_nothing_starts() -> None:
    with pytest.raises(UsageError, match="needs a terminal"):
        shell.shell("smoke", Carried(), events=Silent(), options=DEFAULTS)
