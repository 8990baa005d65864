"""What a recipe's submission does not allow is refused with a reason: all reasons at once, where they stand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from roost.condor.from_recipe import BuiltFiles, image_files, machine_refusals, refusals, virtual_machine
from roost.errors import Location, RecipeError
from roost.recipe.hypervisor import Hypervisor
from tests.unit.submitting import BUILT, IO, ROOT, recipe, submit_description


def reasons(hypervisor: Hypervisor, transfer: str | None = None, **changes: Any) -> list[str]:
    return [problem.what for problem in refusals(recipe(**changes), hypervisor, transfer)]


def bare(name: str = "root", **keys: Any) -> dict[str, Any]:
    return {"name": name, "filesystem": "ext4", "mount": "/", "free": "9MiB", **keys}


def data(device: str | None, **keys: Any) -> dict[str, Any]:
    return {"name": "data", "filesystem": "ext4", "size": "9MiB", "device": device, **keys}


CASES: list[tuple[Hypervisor, dict[str, Any], str]] = [
    ("xen", {"hypervisors": ["xen"]}, "xen reads raw images only"),
    ("kvm", {"disks": [ROOT, {**IO, "device": "xvda"}]}, "xvda is not a device of a kvm machine"),
    ("kvm", {"disks": [ROOT, {**IO, "device": "sda2"}]}, "sda2 is not a device of a kvm machine"),
    ("kvm", {"disks": [ROOT, {**IO, "device": "hde"}]}, "hde is not a device of a kvm machine"),
    ("xen", {"disks": [ROOT, {**IO, "device": "vdb"}]}, "vdb is not a device of a xen machine"),
    ("xen", {"disks": [ROOT, {**IO, "device": "hda1"}]}, "hda1 is not a device of a xen machine"),
    ("kvm", {"disks": [ROOT, data("hdb", readonly=True)], "submit": {}}, "read-only IDE disk"),
    ("kvm", {"disks": [{**ROOT, "device": "vdb"}, {**IO, "device": "vdb"}]}, "the devices vdb and vdb are the same"),
    ("xen", {"disks": [{**ROOT, "device": "xvda"}, {**IO, "device": "sda"}]}, "the devices xvda and sda are the same"),
    ("xen", {"disks": [{**ROOT, "device": "xvda"}, {**IO, "device": "xvda2"}]}, "a whole disk and a part of it"),
    ("kvm", {"disks": [{**ROOT, "device": "vdb"}, {**IO, "device": "vda"}]}, "io.raw on vda would boot"),
    ("kvm", {"disks": [ROOT, {**IO, "device": "vda"}]}, "io.raw on vda would boot"),
    ("kvm", {"disks": [{**ROOT, "device": "vdb"}, {**IO, "device": "hda"}]}, "io.raw on hda would boot"),
    ("kvm", {"kernel": {"placement": "external"}}, "HTCondor gives a kvm machine no kernel"),
    ("kvm", {"hypervisors": ["xen"]}, "the recipe is not for kvm"),
    ("xen", {"submit": {"xen_kernel": "files"}}, "needs kernel and initrd beside the image"),
    ("xen", {"machine": {"network": "user"}}, "user networking is for kvm only"),
    (
        "xen",
        {"disks": [{**ROOT, "partitions": [{"mount": "/", "filesystem": "xfs", "size": "1GiB"}]}, IO]},
        "cannot read xfs",
    ),
    ("xen", {"disks": [ROOT, {**data("xvdc"), "mount": "/boot"}], "submit": {}}, "/boot is on disk data"),
    ("xen", {"kernel": {"placement": "external", "parameters": ["a=<b>"]}}, "does not reach a xen machine"),
    ("kvm", {"submit": {"checkpoint": True}}, "cannot be checkpointed"),
    ("kvm", {"submit": {"commands": {"vm_disk": "a:vda:w:raw"}}}, "the command vm_disk follows from the recipe"),
    ("kvm", {"submit": {"commands": {"TransferInputFiles": "a"}}}, "follows from the recipe"),
    ("kvm", {"submit": {"commands": {"queue": "2"}}}, "the command queue follows"),
    ("kvm", {"submit": {"commands": {"if": "true"}}}, "is a statement of the submit language"),
    ("kvm", {"submit": {"commands": {"Log": "a", "log": "b"}}}, "given twice"),
    ("kvm", {"submit": {"commands": {"+JobVMType": '"xen"'}}}, "condor_submit's own"),
    ("kvm", {"submit": {"attributes": {"JobUniverse": 5}}}, "condor_submit's own"),
    ("kvm", {"submit": {"attributes": {"A": 1, "a": 2}}}, "given twice"),
    ("kvm", {"submit": {"attributes": {"A": "$$(Name)"}}}, "$$"),
    ("kvm", {"submit": {"attributes": {"A": "end\\"}}}, "backslash"),
    ("kvm", {"submit": {"attributes": {"A": float("nan")}}}, "not a number"),
    ("kvm", {"submit": {"inputs": ["directory/io.raw"]}}, "would overwrite io.raw"),
    ("kvm", {"submit": {"inputs": ["directory/"]}}, "names no file"),
    ("kvm", {"submit": {"inputs": ["$(HOME)/a"]}}, "character"),
    ("kvm", {"disks": [ROOT, *(data(None) | {"name": f"d{number}"} for number in range(26))], "submit": {}}, "26"),
]


@pytest.mark.parametrize(("hypervisor", "changes", "what"), CASES, ids=[case[2][:30] for case in CASES])
def test_refused_with_a_reason(hypervisor: Hypervisor, changes: dict[str, Any], what: str) -> None:
    assert [reason for reason in reasons(hypervisor, **changes) if what in reason]
    with pytest.raises(RecipeError):
        submit_description(recipe(**changes), hypervisor, files=BUILT)


@pytest.mark.parametrize("transfer", ["files", "shared", "https://h.example/i", "osdf:///i", "file:///i"])
def test_kvm_with_an_external_kernel_is_refused_however_it_is_transferred(transfer: str) -> None:
    assert reasons("kvm", transfer, kernel={"placement": "external"}) == [
        "HTCondor gives a kvm machine no kernel: the image must boot by itself"
    ]


def test_but_a_test_boot_under_kvm_can_have_it() -> None:
    made = recipe(kernel={"placement": "external", "parameters": ["quiet"]})
    assert machine_refusals(made, "kvm") == ()
    kernel = virtual_machine(made, "kvm").kernel
    assert kernel is not None and (kernel.kernel, kernel.initrd, kernel.root) == ("vmlinuz", "initrd.img", "/dev/vda1")
    assert kernel.parameters.startswith("root=UUID=")
    assert kernel.parameters.endswith(" ro console=tty0 console=ttyS0,115200 quiet")


@pytest.mark.parametrize(
    "transfer",
    [
        "https://h.example/a,b",
        "https://h.example/a b",
        "osdf:///pool?x=1",
        "osdf:///pool#x",
        "https://h.example/$(x)",
        'https://h.example/"',
        "https://h.example/%zz",
        "file://images/x",
        "nonsense",
    ],
)
def test_a_url_that_the_list_of_files_cannot_carry_is_refused(transfer: str) -> None:
    assert reasons("kvm", transfer)


@pytest.mark.parametrize("directory", ["/images/louise", "/images/isolde/x", "/has blank/x", "/amp&ersand"])
def test_a_shared_directory_that_htcondor_misreads_is_refused(directory: str) -> None:
    files = BuiltFiles(Path(directory), BUILT.sizes)
    if directory == "/images/louise":
        assert submit_description(recipe(), "kvm", files=files, transfer="shared")
        return
    with pytest.raises(RecipeError):
        submit_description(recipe(), "kvm", files=files, transfer="shared")


@pytest.mark.parametrize("directory", [None, Path("relative/directory")])
def test_shared_needs_an_absolute_directory(directory: Path | None) -> None:
    with pytest.raises(RecipeError, match="absolute directory"):
        submit_description(recipe(), "kvm", files=BuiltFiles(directory, BUILT.sizes), transfer="shared")


def test_all_reasons_come_at_once_and_where_they_stand() -> None:
    def where(key: Sequence[str | int]) -> Location:
        return Location("r.yaml", len(key), 1)

    made = recipe(
        disks=[ROOT, {**IO, "device": "xvdb"}],
        hypervisors=["xen"],
        submit={"checkpoint": True, "commands": {"universe": "vanilla"}},
    )
    found = refusals(made, "kvm", "http://a,b", where)
    assert len(found) == 5
    assert all(problem.where is not None and problem.hint for problem in found)
    with pytest.raises(RecipeError) as caught:
        submit_description(made, "kvm", files=BUILT, transfer="http://a,b", where=where)
    assert len(caught.value.problems) == 5


def test_a_file_that_the_build_lacks_is_a_reason() -> None:
    with pytest.raises(RecipeError, match=r"no root.raw, which xen needs"):
        virtual_machine(recipe(), "xen", files=BuiltFiles(None, {"root.qcow2": 1, "io.raw": 1}))


def test_the_formats_that_hypervisors_need() -> None:
    assert image_files(recipe()) == {"root": {"qcow2", "raw"}, "io": {"raw"}}
    assert image_files(recipe(hypervisors=["kvm"])) == {"root": {"qcow2"}, "io": {"raw"}}
    assert image_files(recipe(hypervisors=["xen"])) == {"root": {"raw"}, "io": {"raw"}}


def test_own_devices_are_kept_and_the_others_take_free_letters() -> None:
    disks = [data("vdb"), IO, {**ROOT}]
    machine = virtual_machine(recipe(disks=disks), "kvm")
    assert [(disk.file, disk.device) for disk in machine.disks] == [
        ("root.qcow2", "vda"),
        ("data.raw", "vdb"),
        ("io.raw", "vdc"),
    ]


def test_memory_is_rounded_up_to_a_whole_mebibyte() -> None:
    assert virtual_machine(recipe(machine={"memory": (512 << 20) + 1}), "kvm").memory == 513


def test_a_bare_root_file_system_is_xens_whole_disk() -> None:
    machine = virtual_machine(recipe(disks=[bare()], submit={}, hypervisors=["xen"]), "xen")
    assert machine.disks[0].device == "xvda" and machine.kernel is None


@pytest.mark.parametrize(
    "changes",
    [
        {"machine": {"mac": "auto"}},
        {"machine": {"network": "nat", "mac": "01:00:5e:00:00:01"}},
        {"machine": {"network": "nat", "mac": "zz"}},
        {"submit": {"transfer": "sahred"}},
        {"submit": {"no_output": True, "return": ["io"]}},
        {"submit": {"commands": {"a b": "c"}}},
        {"submit": {"commands": {"priority": "1\nqueue 9"}}},
        {"submit": {"commands": {"priority": "1\\"}}},
        {"submit": {"attributes": {"a-b": "c"}}},
        {"submit": {"attributes": {"A": "x\ny"}}},
        {"submit": {"inputs": ["a,b"]}},
        {"submit": {"architecture": 'X86_64" || true'}},
    ],
)
def test_refused_by_the_model(changes: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        recipe(**changes)


@pytest.mark.parametrize(
    ("commands", "what"),
    [({"error": "log.txt"}, "error"), ({"requirements": "(((("}, "requirements"), ({"hold": "maybe"}, "hold")],
)
def test_further_commands_are_linted(commands: dict[str, str], what: str) -> None:
    with pytest.raises(RecipeError) as caught:
        submit_description(recipe(submit={"commands": commands}), "kvm", files=BUILT)
    (problem,) = caught.value.problems
    assert what in problem.what and problem.where is not None and problem.where.file == "kvm.sub" and problem.hint


def test_an_s3_url_needs_its_keys() -> None:
    with pytest.raises(RecipeError, match="access key"):
        submit_description(recipe(), "kvm", files=BUILT, transfer="s3://bucket/images")
    keys = {"s3_access_key_id_file": "/id", "s3_secret_access_key_file": "/key"}
    assert submit_description(recipe(submit={"commands": keys}), "kvm", files=BUILT, transfer="s3://bucket/images")
