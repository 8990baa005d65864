"""However odd a recipe's names: its description is taken by condor_submit and by the lint, or refused with a reason."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, assume, example, given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from roost.condor.from_recipe import BuiltFiles, image_files
from roost.condor.jobs_file import parse_jobs, variable_of
from roost.condor.lint import lint_text
from roost.condor.vm_disk import parse
from roost.errors import RecipeError, RoostError, UsageError
from roost.recipe.hypervisor import Hypervisor
from roost.recipe.model import Recipe
from tests.unit.submitting import CondorSubmit, MiB, condor_submit, submit_description


@pytest.fixture(scope="module")
def condor() -> Iterator[CondorSubmit]:
    with condor_submit() as parser:
        yield parser


#: Names that a recipe can have and that mean something to somebody on the way.
ODD_NAMES = (
    *("root", "io", "included", "vmx", "vmlinuz", "initrd.img", "root.qcow2", "io.raw", "kvm", "xen", "queue", "if"),
    *("log", "a+b", "a-1", "0", "9.9", "a..b", "x_", "r", "w", "raw", "true", "undefined", "universe", "dollar", "nul"),
    *("cluster", "process", "item", "vm_disk", "a-2", "a2", "e" * 64),
)
names = st.sampled_from(ODD_NAMES) | st.from_regex(r"[a-z0-9][a-z0-9._+-]{0,20}", fullmatch=True)
devices = st.none() | st.sampled_from(
    [
        "vda",
        "vdb",
        "vdz",
        "hda",
        "hdb",
        "hde",
        "sda",
        "sdb",
        "sda1",
        "xvda",
        "xvda1",
        "xvdb",
        "xvda15",
        "nvme0n1",
        "fd0",
    ]
)
texts = st.text(max_size=30) | st.sampled_from(
    [
        "$(Process)",
        "$(",
        "$$(x)",
        "a\\",
        '\\"',
        '"',
        "\x07",
        "queue",
        "$(x:y)",
        "$INT(x)",
        "@=end",
        "é\u2028",
        "#",
        "\ta",
    ]
)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
transfer_modes = st.sampled_from(
    ["files", "shared", "https://h.example/a", "osdf:///pool/b/", "file:///images", "https://h/%2C", "s3://b/c", "x://"]
) | st.from_regex(r"https?://[!-~]{1,20}", fullmatch=True)


@st.composite
def recipes(draw: st.DrawFn) -> dict[str, Any]:
    count = draw(st.integers(1, 4))
    labels = draw(st.lists(names, min_size=count, max_size=count, unique=True))
    disks: list[dict[str, Any]] = []
    for number, name in enumerate(labels):
        disk: dict[str, Any] = {
            "name": name,
            "format": draw(st.sampled_from(["raw", "qcow2"])),
            "device": draw(devices) if draw(st.booleans()) else None,
            "readonly": draw(st.booleans()),
        }
        if number == 0:
            disk["partitions"] = [{"mount": "/", "size": draw(st.integers(1, 9000)) * MiB}]
        else:
            disk |= {"filesystem": draw(st.sampled_from(["ext4", "swap"])), "size": draw(st.integers(1, 900)) * MiB}
        disks.append(disk)
    network = draw(st.sampled_from(["none", "nat", "bridge", "user"]))
    machine: dict[str, Any] = {"memory": draw(st.integers(32, 1 << 20)) * MiB + draw(st.integers(0, 1))}
    machine |= {"cpus": draw(st.integers(1, 1024)), "network": network, "vnc": draw(st.booleans())}
    if network != "none":
        machine["mac"] = draw(st.sampled_from([None, "auto", "52:54:00:12:34:56"]))
    writable = [disk["name"] for disk in disks if not disk["readonly"]]
    no_output = draw(st.booleans())
    submit: dict[str, Any] = {
        "return": [] if no_output or not writable else draw(st.lists(st.sampled_from(writable), unique=True)),
        "no_output": no_output,
        "checkpoint": draw(st.sampled_from([False, False, False, False, True])),
        "xen_kernel": draw(st.sampled_from(["included", "files"])),
        "inputs": draw(st.lists(st.from_regex(r"[!-~]{1,12}", fullmatch=True), max_size=2)),
        "attributes": draw(
            st.dictionaries(
                st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,9}", fullmatch=True),
                texts | st.booleans() | st.integers() | st.floats(),
                max_size=3,
            )
        ),
        "commands": draw(
            st.dictionaries(
                st.sampled_from(
                    ["priority", "notify_user", "hold", "requirements", "rank", "+Odd", "batch_name", "log"]
                )
                | st.from_regex(r"\+?[a-z_]{1,8}", fullmatch=True),
                values,
                max_size=2,
            )
        ),
    }
    return {
        "name": draw(names),
        "description": draw(texts),
        "os": {"debian": {"suite": "bookworm"}},
        "kernel": {
            "placement": draw(st.sampled_from(["included", "external", "both"])),
            "parameters": draw(st.lists(st.from_regex(r"[!-~]{1,12}", fullmatch=True), max_size=2)),
        },
        "disks": draw(st.permutations(disks)),
        "machine": machine,
        "submit": {key: value for key, value in submit.items() if draw(st.booleans())},
        "job": draw(st.sampled_from([None, {"command": "/run"}, {"command": "/run", "timeout": 0.5}])),
        "hypervisors": draw(st.sampled_from([["kvm"], ["xen"], ["kvm", "xen"]])),
    }


def valid(made: dict[str, Any]) -> Recipe:
    """Return the recipe, unless the model refuses it with a located reason (test_recipe_loader)."""
    try:
        return Recipe.model_validate(made)
    except ValidationError:
        assume(False)
        raise


def built(recipe: Recipe) -> BuiltFiles:
    sizes = {f"{name}.{form}": 700 * MiB for name, formats in image_files(recipe).items() for form in formats}
    return BuiltFiles(Path("/images") / recipe.name, {**sizes, "vmlinuz": MiB, "initrd.img": MiB})


def check(condor: CondorSubmit, recipe: Recipe, text: str, hypervisor: Hypervisor) -> None:
    """Hold a description against condor_submit's parser and the lint."""
    errors = [finding for finding in lint_text(text, environment={}).findings if finding.rule.severity == "error"]
    assert not errors, (errors, text)
    ad = condor.ad(text)
    assert ad["JobVMType"] == hypervisor and ad["JobUniverse"] == "13"
    assert len(parse(ad["VMPARAM_vm_Disk"])) == len(recipe.disks)
    assert int(ad["JobVMMemory"]) * MiB >= recipe.machine.memory
    if ad.get("TransferOutput", '""') not in ("", '""'):
        inputs = {name.rpartition("/")[2] for name in ad["TransferInput"].split(",")}
        assert set(ad["TransferOutput"].split(",")) <= inputs
        returned = [pair.partition(" = ")[2] for pair in ad["TransferOutputRemaps"].split("; ")]
        assert len(returned) == len(ad["TransferOutput"].split(","))
        assert not set(returned) & inputs


#: ROOST_EXAMPLES=1000 looks longer.
LIMITS = settings(
    max_examples=int(os.environ.get("ROOST_EXAMPLES", "40")),
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)


@LIMITS
@given(recipes(), st.sampled_from(["kvm", "xen"]), transfer_modes)
def test_odd_recipes(condor: CondorSubmit, made: dict[str, Any], hypervisor: Hypervisor, transfer: str) -> None:
    recipe = valid(made)
    try:
        text = submit_description(recipe, hypervisor, files=built(recipe), transfer=transfer)
    except RecipeError as refused:
        assert refused.problems and all(problem.what for problem in refused.problems)
        return
    check(condor, recipe, text, hypervisor)


@LIMITS
@given(names, st.lists(names, min_size=1, max_size=3, unique=True), st.sampled_from(["kvm", "xen"]), transfer_modes)
@example("root.qcow2", ["root", "vmlinuz"], "kvm", "files")
@example("a", ["io", "root"], "xen", "files")
def test_odd_names_alone_are_never_refused(
    condor: CondorSubmit, name: str, disks: list[str], hypervisor: Hypervisor, transfer: str
) -> None:
    """With nothing else wrong, a name that the model takes makes a description that works."""
    assume(not any("iso" in disk for disk in disks) and (transfer != "shared" or "iso" not in name))
    assume(transfer in ("files", "shared", "osdf:///pool/b/", "file:///images"))
    first, *others = disks
    made = {
        "name": name,
        "os": {"debian": {"suite": "bookworm"}},
        "disks": [
            {"name": first, "partitions": [{"mount": "/", "size": "64MiB"}]},
            *({"name": other, "filesystem": "ext4", "size": "9MiB"} for other in others),
        ],
        "hypervisors": ["kvm", "xen"],
        "submit": {"return": disks},
    }
    recipe = Recipe.model_validate(made)
    try:
        text = submit_description(recipe, hypervisor, files=built(recipe), transfer=transfer)
    except RecipeError as refused:
        # A disk called root that is not the root disk: whoever reads vm_disk, the lint too, takes it for that.
        assert others and all("is what boots, not" in problem.what for problem in refused.problems)
        return
    check(condor, recipe, text, hypervisor)


@LIMITS
@given(
    st.lists(st.tuples(st.from_regex(r"[!-~]{1,12}", fullmatch=True), st.text(max_size=8)), min_size=1, max_size=4),
    names,
)
def test_odd_files_of_jobs(condor: CondorSubmit, rows: list[tuple[str, str]], disk: str) -> None:
    assume("iso" not in disk)
    made = {
        "name": "sim",
        "os": {"debian": {"suite": "bookworm"}},
        "disks": [
            {"name": "root0", "partitions": [{"mount": "/", "size": "64MiB"}]},
            {"name": disk, "filesystem": "ext4", "size": "9MiB"},
        ],
        "submit": {"return": [disk], "attributes": {"Note": "$(note)"}},
    }
    recipe = valid(made)
    text = "\n".join([f"{variable_of(disk)},note", *(f"{file},{note}" for file, note in rows)])
    try:
        jobs = parse_jobs(text, "jobs.csv", Path("/jobs"))
        written = submit_description(recipe, "kvm", files=built(recipe), jobs=jobs)
    except (RecipeError, UsageError) as refused:
        assert isinstance(refused, RoostError) and str(refused)
        return
    check(condor, recipe, written, "kvm")
