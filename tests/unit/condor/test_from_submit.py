"""Any submit description as the machine that HTCondor would make of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.condor.from_submit import virtual_machine
from roost.condor.machine import VmDisk
from roost.errors import ImageError, RoostError, UsageError

GOOD = """\
universe = vm
executable = x
vm_type = KVM
vm_memory = 1G
vm_vcpus = 2
image = root
vm_disk = $(image).qcow2:vda:w:qcow2, data.raw:vdb:r:raw
transfer_input_files = sub/root.qcow2, data.raw
vm_networking = true
queue
"""


def _write(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "job.sub"
    path.write_text(text)
    return path


def test_a_description_is_a_machine(tmp_path: Path) -> None:
    vm = virtual_machine(_write(tmp_path, GOOD))
    assert (vm.name, vm.hypervisor, vm.memory, vm.vcpus, vm.network) == ("job", "kvm", 1024, 2, "nat")
    assert vm.disks == (VmDisk("sub/root.qcow2", "vda", "w", "qcow2"), VmDisk("data.raw", "vdb", "r", "raw"))


@pytest.mark.parametrize("number", ["\u00b2", "\u0665", "9" * 5000, "-3", "0", "many"])
def test_cpus_that_are_not_a_number_are_one(number: str, tmp_path: Path) -> None:
    """Digits of other scripts, and more of them than Python reads: condor_submit takes what it cannot read as 1."""
    vm = virtual_machine(_write(tmp_path, GOOD.replace("vm_vcpus = 2", f"vm_vcpus = {number}")))
    assert vm.vcpus == 1


def test_a_disk_on_a_shared_file_system_is_where_it_is(tmp_path: Path) -> None:
    text = GOOD.replace("$(image).qcow2:vda", "/shared/root.qcow2:vda").replace("sub/root.qcow2, ", "")
    assert virtual_machine(_write(tmp_path, text)).disks[0].file == "/shared/root.qcow2"


def test_a_url_is_its_copy_beside_the_description(tmp_path: Path) -> None:
    path = _write(tmp_path, GOOD.replace("sub/root.qcow2", "osdf:///pool/root.qcow2"))
    with pytest.raises(ImageError, match=r"osdf:///pool/root\.qcow2 is not here"):
        virtual_machine(path)
    (tmp_path / "root.qcow2").touch()
    assert virtual_machine(path).disks[0].file == "root.qcow2"


@pytest.mark.parametrize(
    ("old", "new", "error"),
    [
        ("universe = vm", "universe = vanilla", UsageError),
        ("vm_type = KVM", "vm_type = xen", ImageError),
        ("vm_type = KVM", "vm_type = qemu", ImageError),
        ("vm_memory = 1G", "vm_memory = much", ImageError),
        (":vda:w:qcow2", "", ImageError),
    ],
)
def test_what_makes_no_machine_says_why(tmp_path: Path, old: str, new: str, error: type[RoostError]) -> None:
    with pytest.raises(error) as caught:
        virtual_machine(_write(tmp_path, GOOD.replace(old, new)))
    assert "inv lint" in str(caught.value) or "kvm" in str(caught.value)


def test_a_missing_description_is_a_wrong_call(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such file"):
        virtual_machine(tmp_path / "none.sub")
