"""Submit descriptions, held against the job ad that condor_submit's own parser makes of them."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.condor.from_recipe import BuiltFiles, refusals
from roost.condor.lint import lint_text
from roost.errors import RecipeError
from roost.publish import describe
from roost.publish.describe import ReleasedImage
from roost.publish.layout import ReleaseFile
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Placement
from tests.unit.submitting import BUILT, IO, ROOT, CondorSubmit, MiB, condor_submit, recipe, submit_description


@pytest.fixture(scope="module")
def condor() -> Iterator[CondorSubmit]:
    with condor_submit() as parser:
        yield parser


def effect(text: str) -> str:
    return lint_text(text, environment={}).effect.value


def test_the_vocabulary_of_a_kvm_job(condor: CondorSubmit) -> None:
    text = submit_description(recipe(machine={"memory": "1GiB", "cpus": 4}), "kvm", files=BUILT)
    ad = condor.ad(text)
    assert ad["JobUniverse"] == "13"
    assert (ad["JobVMType"], ad["JobVMMemory"], ad["JobVM_VCPUS"]) == ("kvm", "1024", "4")
    assert (ad["RequestMemory"], ad["RequestCpus"]) == ("1024", "4")
    assert ad["VMPARAM_vm_Disk"] == "root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw"
    assert ad["TransferInput"] == "root.qcow2,io.raw"
    assert (ad["ShouldTransferFiles"], ad["WhenToTransferOutput"]) == ("YES", "ON_EXIT")
    assert ad["JobVMNetworking"].lower() == "false"
    assert ad["TransferOutput"] == "io.raw"
    assert ad["TransferOutputRemaps"] == "io.raw = io-1.0.raw"
    assert ad["PeriodicRemove"] == "(JobStatus == 2) && (time() - EnteredCurrentStatus > 16200)"
    assert ad["UserLog"].endswith("debian-12.1.0.log")
    assert ad["Cmd"].endswith("debian-12")
    assert '(TARGET.Arch == "X86_64")' in ad["Requirements"]
    assert effect(text) == "ok"


def test_request_disk_covers_what_the_disks_can_grow_to(condor: CondorSubmit) -> None:
    ad = condor.ad(submit_description(recipe(), "kvm", files=BUILT))
    assert (1300 + 256) * 1024 < int(ad["RequestDisk"]) < (1300 + 256 + 8) * 1024
    shared = condor.ad(submit_description(recipe(), "kvm", files=BUILT, transfer="shared"))
    assert int(shared["RequestDisk"]) <= 8 * 1024


def test_an_unbuilt_image_counts_what_its_recipe_promises_and_says_so() -> None:
    text = submit_description(recipe(), "kvm")
    assert "# Not built yet" in text and "request_disk   = 775M" in text


#: kvm with an external kernel is refused: test_emit_refusals.
ALLOWED: tuple[tuple[Hypervisor, Placement], ...] = (
    ("kvm", "included"),
    ("kvm", "both"),
    ("xen", "included"),
    ("xen", "external"),
    ("xen", "both"),
)


#: Hypervisor, placement, and what a machine of a published image starts.
PUBLISHED: tuple[tuple[Hypervisor, Placement, str], ...] = (
    ("kvm", "included", "included"),
    ("kvm", "both", "included"),
    ("kvm", "both", "files"),
    ("xen", "included", "included"),
    ("xen", "both", "included"),
    ("xen", "both", "files"),
    ("xen", "external", "files"),
)


@pytest.mark.parametrize("transfer", ["files", "shared", "https://h.example/i", "osdf:///pool/i", "file:///images"])
@pytest.mark.parametrize(("hypervisor", "placement"), ALLOWED)
def test_each_hypervisor_placement_and_transfer(
    condor: CondorSubmit, hypervisor: Hypervisor, placement: Placement, transfer: str
) -> None:
    made = recipe(kernel={"placement": placement}, submit={"return": ["io"], "xen_kernel": "included"})
    text = submit_description(made, hypervisor, files=BUILT, transfer=transfer)
    ad = condor.ad(text)
    root = "root.qcow2:vda:w:qcow2" if hypervisor == "kvm" else "root.raw:xvda:w:raw"
    second = "io.raw:vdb:w:raw" if hypervisor == "kvm" else "io.raw:xvdb:w:raw"
    files = [root.partition(":")[0], "io.raw"]
    if transfer == "shared":
        assert ad["VMPARAM_vm_Disk"] == f"/images/debian-12/{root},/images/debian-12/{second}"
        assert "TransferInput" not in ad or not ad["TransferInput"]
        assert "TransferOutput" not in ad
    else:
        assert ad["VMPARAM_vm_Disk"] == f"{root},{second}"
        prefix = "" if transfer == "files" else f"{transfer}/"
        assert ad["TransferInput"] == ",".join(f"{prefix}{name}" for name in files)
        assert ad["TransferOutputRemaps"] == "io.raw = io-1.0.raw"
    if hypervisor == "xen" and placement == "external":
        assert ad["VMPARAM_Xen_Kernel"] == "/images/debian-12/vmlinuz"
        assert ad["VMPARAM_Xen_Initrd"] == "/images/debian-12/initrd.img"
        assert ad["VMPARAM_Xen_Root"] == "/dev/xvda1"
        assert "root=UUID=" in ad["VMPARAM_Xen_Kernel_Params"]
        assert ad["VMPARAM_Xen_Kernel_Params"].endswith("ro console=hvc0")
        assert effect(text) == "ok"
    elif hypervisor == "xen":
        assert ad["VMPARAM_Xen_Kernel"] == "included"
        assert effect(text) == "ok"
    else:
        assert not any(name.startswith("VMPARAM_Xen") for name in ad)
        assert effect(text) == "ok"
    assert not [line for line in lint_text(text, environment={}).render() if ": error: " in line]


def test_xen_can_start_the_files_of_an_image_that_has_its_kernel_both_ways(condor: CondorSubmit) -> None:
    made = recipe(kernel={"placement": "both"}, submit={"xen_kernel": "files"})
    assert condor.ad(submit_description(made, "xen", files=BUILT))["VMPARAM_Xen_Kernel"] == "/images/debian-12/vmlinuz"
    assert "vmlinuz" not in submit_description(made, "kvm", files=BUILT)


KERNELS = [
    ("/boot/roost", "/boot/roost/vmlinuz", "/boot/roost/initrd.img"),
    ("/boot/roost/", "/boot/roost/vmlinuz", "/boot/roost/initrd.img"),
    ("/boot/vmlinuz", "/boot/vmlinuz", "/boot/initrd.img"),
    ("/boot/vmlinuz-6.1.0-49-amd64", "/boot/vmlinuz-6.1.0-49-amd64", "/boot/initrd.img-6.1.0-49-amd64"),
]


@pytest.mark.parametrize("transfer", ["files", "shared", "osdf:///pool/i"])
@pytest.mark.parametrize(("path", "kernel", "initrd"), KERNELS)
def test_kernel_and_initrd_are_where_the_execution_points_have_them(
    condor: CondorSubmit, path: str, kernel: str, initrd: str, transfer: str
) -> None:
    made = recipe(kernel={"placement": "external"}, submit={"kernel_path": path})
    text = submit_description(made, "xen", files=BUILT, transfer=transfer)
    ad = condor.ad(text)
    assert (ad["VMPARAM_Xen_Kernel"], ad["VMPARAM_Xen_Initrd"]) == (kernel, initrd)
    assert "vmlinuz" not in ad.get("TransferInput", "") and effect(text) == "ok"
    assert "# Every execution point must have the kernel's files at these paths" in text


def test_a_kernel_without_an_absolute_path_is_refused() -> None:
    made = recipe(kernel={"placement": "external"}, submit={})
    with pytest.raises(RecipeError, match="needs an absolute path on the execution points"):
        submit_description(made, "xen")
    odd = dataclasses.replace(BUILT, directory=Path("/images/a b"))
    with pytest.raises(RecipeError, match="may only have the characters"):
        submit_description(made, "xen", files=odd)
    included = dataclasses.replace(BUILT, directory=Path("/images/included"))
    with pytest.raises(RecipeError, match="contains 'included'"):
        submit_description(made, "xen", files=included)
    with pytest.raises(RecipeError, match="kernel_path has no effect"):
        submit_description(recipe(submit={"kernel_path": "/boot"}), "xen", files=BUILT)
    for placement in ("external", "both"):
        known = recipe(kernel={"placement": placement}, submit={"kernel_path": "/srv/included/k"})
        assert ["contains 'included'" in one.what for one in refusals(known, "xen")] == [True]
    for path in ("boot", "/a b", "/../x y", "", "/"):
        with pytest.raises(ValueError, match="kernel_path"):
            recipe(submit={"kernel_path": path})


RELEASED = [
    ReleaseFile(name, f"i/1/{name}", "disk", "raw", 9 * MiB, 9 * MiB, "0" * 64, None)
    for name in ("root.qcow2", "root.raw", "io.raw", "vmlinuz", "initrd.img")
]


@pytest.mark.parametrize("root", [None, "/srv/images", "https://h.example/i", "osdf:///pool", "file:///srv/images"])
@pytest.mark.parametrize("kernel_path", [None, "/boot/roost"])
@pytest.mark.parametrize(("hypervisor", "placement", "start"), PUBLISHED)
def test_published_images_start_by_path_or_by_themselves(
    condor: CondorSubmit, hypervisor: Hypervisor, placement: Placement, start: str, kernel_path: str | None, root: str
) -> None:
    outside = hypervisor == "xen" and start == "files"
    submit = {"return": ["io"], "xen_kernel": "files" if placement == "both" and start == "files" else "included"}
    made = recipe(kernel={"placement": placement}, submit=submit | ({"kernel_path": kernel_path} if outside else {}))
    if outside and kernel_path is None and (root is None or "://" in root):
        assert not describe.kernel_is_found(made, hypervisor, root)
        with pytest.raises(RecipeError, match="needs an absolute path on the execution points"):
            describe.descriptions(ReleasedImage(made, RELEASED, root), hypervisor)
        return
    assert describe.kernel_is_found(made, hypervisor, root)
    text = describe.descriptions(ReleasedImage(made, RELEASED, root), hypervisor).description
    ad = condor.ad(text)
    assert effect(text) == "ok"
    assert "vmlinuz" not in ad["TransferInput"]
    if outside:
        assert ad["VMPARAM_Xen_Kernel"] == f"{kernel_path or '/srv/images/i/1'}/vmlinuz"
        assert ad["VMPARAM_Xen_Initrd"] == f"{kernel_path or '/srv/images/i/1'}/initrd.img"
    else:
        assert ad.get("VMPARAM_Xen_Kernel") in (None, "included")


def test_a_bare_file_system_is_a_partition_of_xen(condor: CondorSubmit) -> None:
    disks = [
        {"name": "root", "filesystem": "ext4", "mount": "/", "free": "64MiB", "device": "xvda1"},
        {"name": "swap", "filesystem": "swap", "size": "64MiB", "device": "xvda2"},
        {"name": "data", "filesystem": "ext4", "size": "64MiB", "readonly": True},
    ]
    made = recipe(disks=disks, hypervisors=["xen"], kernel={"placement": "external"}, submit={})
    ad = condor.ad(submit_description(made, "xen", files=BuiltFiles(Path("/images"))))
    assert ad["VMPARAM_vm_Disk"] == "root.raw:xvda1:w:raw,swap.raw:xvda2:w:raw,data.raw:xvdb:r:raw"
    assert ad["VMPARAM_Xen_Root"] == "/dev/xvda1"


def test_root_on_the_second_partition_and_listed_first(condor: CondorSubmit) -> None:
    root = {
        "name": "system",
        "partitions": [{"filesystem": "ext4", "mount": "/boot", "size": "64MiB"}, {"mount": "/", "free": "9MiB"}],
    }
    made = recipe(disks=[IO, root], hypervisors=["xen"], kernel={"placement": "external"})
    ad = condor.ad(submit_description(made, "xen", files=BuiltFiles(Path("/images"))))
    assert ad["VMPARAM_vm_Disk"].startswith("system.raw:xvda:w:raw,")
    assert ad["VMPARAM_Xen_Root"] == "/dev/xvda2"


@pytest.mark.parametrize("kind", ["nat", "bridge", "user"])
def test_networking_names_its_type_in_lower_case(condor: CondorSubmit, kind: str) -> None:
    ad = condor.ad(submit_description(recipe(machine={"network": kind}), "kvm", files=BUILT))
    assert ad["JobVMNetworking"].lower() == "true" and ad["JobVMNetworkingType"] == kind
    assert "JobVM_MACADDR" not in ad


def test_an_automatic_address_is_unicast_locally_administered_and_the_jobs_own(condor: CondorSubmit) -> None:
    made = recipe(machine={"network": "bridge", "mac": "auto"})
    text = submit_description(made, "kvm", files=BUILT)
    assert condor.ad(text)["JobVM_MACADDR"] == "02:00:00:01:00:00"
    assert effect(text) == "ok"


def test_a_fixed_address_and_a_screen(condor: CondorSubmit) -> None:
    made = recipe(machine={"network": "nat", "mac": "52:54:00:AB:cd:01", "vnc": True})
    ad = condor.ad(submit_description(made, "kvm", files=BUILT))
    assert ad["JobVM_MACADDR"] == "52:54:00:ab:cd:01" and ad["JobVMVNCConsole"].lower() == "true"


@pytest.mark.parametrize("network", ["none", "nat"])
def test_a_checkpoint_has_shared_paths_and_on_exit_or_evict(condor: CondorSubmit, network: str) -> None:
    made = recipe(machine={"network": network}, submit={"checkpoint": True, "transfer": "shared"})
    text = submit_description(made, "kvm", files=BUILT)
    ad = condor.ad(text)
    assert ad["JobVMCheckpoint"].lower() == "true" and ad["WhenToTransferOutput"] == "ON_EXIT_OR_EVICT"
    assert int(ad["RequestDisk"]) >= 1024 * 1024, "the checkpoint of the memory is kept in the sandbox"
    assert effect(text) == "ok"


def test_no_output_says_so_and_names_no_file(condor: CondorSubmit) -> None:
    ad = condor.ad(submit_description(recipe(submit={"no_output": True}), "kvm", files=BUILT))
    assert ad["VMPARAM_No_Output_VM"].lower() == "true"
    assert "TransferOutput" not in ad and "TransferOutputRemaps" not in ad


def test_without_returned_disks_none_overwrites_the_submitted_one(condor: CondorSubmit) -> None:
    text = submit_description(recipe(submit={}), "kvm", files=BUILT)
    assert 'transfer_output_files   = ""' in text
    ad = condor.ad(text)
    assert ad["TransferOutput"] in ("", '""')
    assert "TransferOutputRemaps" not in ad


def test_several_returned_disks_and_a_directory_for_them(condor: CondorSubmit) -> None:
    data = {"name": "data", "filesystem": "ext4", "size": "9MiB"}
    made = recipe(disks=[ROOT, IO, data], submit={"return": ["io", "data"]})
    ad = condor.ad(submit_description(made, "kvm", output_directory="results/"))
    assert ad["TransferOutput"] == "io.raw,data.raw"
    assert ad["TransferOutputRemaps"] == "io.raw = results/io-1.0.raw; data.raw = results/data-1.0.raw"


def test_an_overlay_travels_with_its_base_and_is_alone_in_vm_disk(condor: CondorSubmit) -> None:
    files = BuiltFiles(
        BUILT.directory,
        {**BUILT.sizes, "base.qcow2": 900 * MiB},
        {"root.qcow2": "base.qcow2", "base.qcow2": "floor.raw"},
    )
    ad = condor.ad(submit_description(recipe(), "kvm", files=files))
    assert ad["VMPARAM_vm_Disk"] == "root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw"
    assert ad["TransferInput"] == "root.qcow2,io.raw,base.qcow2,floor.raw"
    assert int(ad["RequestDisk"]) > (1300 + 256 + 900) * 1024


def test_further_inputs_commands_and_attributes(condor: CondorSubmit) -> None:
    submit = {
        "inputs": ["extra/data.bin", "https://h.example/more.bin"],
        "commands": {"priority": 5, "+Raw": "1 + 1", "MY.Also": '"x"', "notify_user": "me"},
        "attributes": {"Project": 'he said "no" \\ $x, job $(Process)', "Number": 3, "Ratio": 0.5, "Flag": True},
    }
    text = submit_description(recipe(submit=submit), "kvm", files=BUILT)
    ad = condor.ad(text)
    assert ad["TransferInput"].endswith(",extra/data.bin,https://h.example/more.bin")
    assert ad["JobPrio"] == "5" and ad["Also"] == "x" and ad["NotifyUser"] == "me"
    assert ad["Project"] == 'he said "no" \\ $x, job 0'
    assert (ad["Number"], ad["Ratio"], ad["Flag"].lower()) == ("3", "0.5", "true")
    assert effect(text) == "ok"


@pytest.mark.parametrize("value", ["\\a", 'a"\\b', '""', "a\\\\b", "%s", "é", "#", "${x}", "$", "$(", "a;b = c", "'"])
def test_an_attribute_arrives_as_it_was_written(condor: CondorSubmit, value: str) -> None:
    ad = condor.ad(submit_description(recipe(submit={"attributes": {"Odd": value}}), "kvm", files=BUILT))
    assert ad["Odd"] == value


def test_requirements_are_added_to_the_architecture_unless_they_name_one(condor: CondorSubmit) -> None:
    memory = recipe(submit={"commands": {"requirements": "TARGET.Memory > 1 || true"}})
    ad = condor.ad(submit_description(memory, "kvm", files=BUILT))
    assert '(TARGET.Arch == "X86_64") && (TARGET.Memory > 1 || true)' in ad["Requirements"]
    own = recipe(submit={"commands": {"Requirements": 'Arch == "aarch64"'}})
    ad = condor.ad(submit_description(own, "kvm", files=BUILT))
    assert "X86_64" not in ad["Requirements"] and 'Arch == "aarch64"' in ad["Requirements"]
    named = recipe(os={"tree": {"path": "t"}}, submit={"architecture": "ppc64le"})
    assert 'TARGET.Arch == "ppc64le"' in condor.ad(submit_description(named, "kvm"))["Requirements"]


def test_what_a_recipe_may_set_instead_of_roost(condor: CondorSubmit) -> None:
    commands = {"log": "all.log", "Executable": "me", "request_disk": "9G", "periodic_remove": "false"}
    ad = condor.ad(submit_description(recipe(submit={"commands": commands}), "kvm", files=BUILT))
    assert ad["Cmd"].endswith("me") and ad["UserLog"].endswith("all.log")
    assert ad["RequestDisk"] == str(9 << 20) and ad["PeriodicRemove"].lower() == "false"


def test_the_bound_is_the_jobs_timeout_and_the_margin() -> None:
    made = recipe(job={"command": "/run", "timeout": "90s"}, submit={"margin": "5min"})
    text = submit_description(made, "kvm", files=BUILT)
    assert "> 390)" in text and "6 min 30 s" in text
    for job in (None, {"command": "/run", "then": "stay"}):
        made = recipe(job=job, disks=[ROOT], submit={})
        assert "periodic_remove" not in submit_description(made, "kvm", files=BUILT)


@pytest.mark.parametrize("name", ["root.qcow2", "io.raw", "vmlinuz"])
def test_the_executable_never_has_the_name_of_a_file_that_travels(condor: CondorSubmit, name: str) -> None:
    text = submit_description(recipe(name=name, kernel={"placement": "external"}), "xen", files=BUILT)
    ad = condor.ad(text)
    assert Path(ad["Cmd"]).name not in ad["TransferInput"].split(",")


def test_the_text_is_stable_and_its_columns_are_aligned() -> None:
    first = submit_description(recipe(), "kvm", files=BUILT)
    assert first == submit_description(recipe(), "kvm", files=BUILT)
    for paragraph in first.split("\n\n"):
        commands = [line for line in paragraph.splitlines() if "=" in line and not line.startswith("#")]
        assert len({line.index(" = ") for line in commands}) <= 1
    assert first.endswith("\nqueue\n")


def test_a_snippet_has_only_the_lines_about_disks() -> None:
    made = recipe(kernel={"placement": "external"})
    names = [
        line.partition(" ")[0]
        for line in submit_description(made, "xen", files=BUILT, snippet=True).splitlines()
        if not line.startswith("#")
    ]
    assert names == [
        "vm_disk",
        "xen_kernel",
        "xen_initrd",
        "xen_root",
        "xen_kernel_params",
        "transfer_input_files",
    ]


def test_a_snippet_can_be_included_in_a_description(condor: CondorSubmit) -> None:
    snippet = submit_description(recipe(), "kvm", files=BUILT, snippet=True)
    ad = condor.ad(f"universe = vm\nexecutable = x\nvm_type = kvm\nvm_memory = 512\n{snippet}")
    assert ad["VMPARAM_vm_Disk"].startswith("root.qcow2:vda")
