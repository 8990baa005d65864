"""What keeps a kernel from starting an image, found in its files before anything boots, at the place in the recipe."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from roost.condor import from_recipe
from roost.errors import Location, Problem
from roost.kernel import check, claims, contents, inspect, records
from roost.kernel.catalogue import KernelSpec
from roost.recipe.model import Recipe
from roost.store.cache import Cache
from tests.unit import kernel_lab as lab

CLOUD = KernelSpec(name="cloud", description="", packages={"amd64": "a"}, can=("virtio", "ide", "nvme"))
FULL = KernelSpec(
    name="full", description="", packages={"amd64": "b"}, can=("virtio", "ide", "ahci", "scsi", "nvme", "xen-pv")
)
ROOT = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "8MiB"}]}


def where(key: Sequence[str | int]) -> Location:
    return Location(".".join(map(str, key)))


def recipe_of(*disks: dict[str, Any], **more: Any) -> Recipe:
    given = {"name": "image", "os": {"tree": {"path": "tree"}}, "disks": [ROOT, *disks], **more}
    return Recipe.model_validate(given)


def told(problems: Sequence[Problem]) -> list[str]:
    return [f"{problem.where}: {problem.what}" for problem in problems]


def checked(tree: Path, recipe: Recipe) -> check.CheckResult:
    seen = check.look(tree, inspect.newest(tree), xen="xen" in recipe.hypervisors)
    return check.check(recipe, seen, where, (CLOUD, FULL))


def test_claims_of_a_kernel_that_can_all() -> None:
    recipe = recipe_of({"name": "data", "filesystem": "ext4", "size": "8MiB", "device": "sda"}, hypervisors=["kvm"])
    assert claims.problems(recipe, FULL, (CLOUD, FULL), where) == []


def test_claims_of_a_kernel_that_cannot_drive_a_disk() -> None:
    recipe = recipe_of({"name": "data", "filesystem": "ext4", "size": "8MiB", "device": "sda"})
    (problem,) = claims.problems(recipe, CLOUD, (CLOUD, FULL), where)
    assert problem.what == "kernel cloud has no driver for disk data on sda (sym53c8xx)"
    assert problem.where == where(("disks", 1, "device"))
    assert problem.hint == "use kernel: {use: full}, or device vdb"


def test_claims_under_xen() -> None:
    recipe = recipe_of(hypervisors=["kvm", "xen"])
    (problem,) = claims.problems(recipe, CLOUD, (CLOUD, FULL), where)
    assert "does not start under xen" in problem.what and problem.hint == "use kernel: {use: full}"
    silent = KernelSpec(name="silent", description="", packages={"amd64": "c"})
    assert claims.problems(recipe, silent, (), where) == []


@pytest.mark.parametrize("packed", ["gzip", "xz", "lz4", "bzip2", "lzma"])
def test_a_kernel_that_starts(packed: str, tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree", packed=packed)
    found = checked(tree, recipe_of(hypervisors=["kvm", "xen"]))
    assert found == check.CheckResult((), ())


def test_zstd_is_noted_for_xen_with_the_version_that_it_needs(tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree", packed="zstd")
    assert checked(tree, recipe_of()).notes == ()
    (note,) = checked(tree, recipe_of(hypervisors=["xen"])).notes
    assert "zstd" in note and "4.15" in note


def test_drivers_that_are_built_in_need_no_initrd(tmp_path: Path) -> None:
    names = ("virtio", "virtio_pci", "virtio_blk", "ext4", "xen_blkfront")
    tree = lab.tree(tmp_path / "tree", builtin=names, loadable=(), in_initrd=None)
    assert checked(tree, recipe_of(hypervisors=["kvm", "xen"], kernel={"placement": "included"})).problems == ()


@pytest.mark.parametrize("missing", ["virtio", "virtio_pci", "virtio_blk", "ext4", "crc32c_generic"])
def test_an_initrd_without_what_the_root_needs(missing: str, tmp_path: Path) -> None:
    names = [name for name in ("virtio", "virtio_pci", "virtio_blk", "ext4", "crc32c_generic") if name != missing]
    tree = lab.tree(tmp_path / "tree", in_initrd=names)
    (problem,) = checked(tree, recipe_of()).problems
    assert f"the initrd lacks {missing}" in problem.what and problem.where == where(("kernel", "initrd"))


def test_no_initrd_at_all(tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree", in_initrd=None)
    problems = told(checked(tree, recipe_of()).problems)
    assert len(problems) == 2 and all("there is no initrd with" in problem for problem in problems)


def test_a_kernel_without_a_bus(tmp_path: Path) -> None:
    loadable = [name for name in lab.MODULES if name not in ("sym53c8xx", "xen_blkfront")]
    tree = lab.tree(tmp_path / "tree", loadable=loadable)
    disk = {"name": "data", "filesystem": "ext4", "size": "8MiB", "device": "sda"}
    assert told(checked(tree, recipe_of(disk)).problems) == [
        f"disks.1.device: kernel {lab.RELEASE} has no driver for disk data on sda (sym53c8xx)"
    ]
    assert told(checked(tree, recipe_of(hypervisors=["xen"])).problems) == [
        f"disks.0.device: kernel {lab.RELEASE} has no driver for disk root on xvda (xen_blkfront)"
    ]


def test_other_disks_may_have_their_modules_in_the_image(tmp_path: Path) -> None:
    disk = {"name": "data", "filesystem": "xfs", "size": "400MiB", "device": "sdb", "mount": "/data"}
    tree = lab.tree(tmp_path / "there")
    assert checked(tree, recipe_of(disk)).problems == ()
    tree = lab.tree(tmp_path / "left-out", present=False)
    problems = told(checked(tree, recipe_of(disk)).problems)
    assert [problem.split(",")[0] for problem in problems] == [
        "disks.1: neither the initrd nor the image has sd_mod",
        "disks.1: neither the initrd nor the image has xfs",
    ]
    assert "sym53c8xx" in problems[0] and "xfs on disk data" in problems[1]


def test_what_nobody_mounts_needs_no_file_system(tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree", loadable=[name for name in lab.MODULES if name != "xfs"])
    spare = {"name": "spare", "filesystem": "xfs", "size": "400MiB"}
    swap = {"name": "swap", "filesystem": "swap", "size": "8MiB"}
    assert checked(tree, recipe_of(spare, swap)).problems == ()
    (problem,) = checked(tree, recipe_of({**spare, "mount": "/spare"})).problems
    assert problem.what == f"kernel {lab.RELEASE} has no driver for xfs, which is on disk spare"


def test_modules_of_another_kernel(tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree")
    for path in (tree / "usr/lib/modules").rglob("*.ko"):
        path.write_bytes(lab.module(path.stem, "6.1.0-8-test"))
    (tree / f"boot/initrd.img-{lab.RELEASE}").write_bytes(lab.initrd(lab.MODULES, "6.1.0-8-test"))
    problems = told(checked(tree, recipe_of()).problems)
    assert problems == [
        f"kernel.use: the modules of kernel {lab.RELEASE} were built for 6.1.0-8-test",
        f"kernel.initrd: the initrd has modules of 6.1.0-8-test, and the kernel is {lab.RELEASE}",
    ]


def test_no_modules_at_all(tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree")
    (tree / f"usr/lib/modules/{lab.RELEASE}").rename(tree / "usr/lib/modules/5.10.0-1-test")
    recipe = recipe_of()
    (problem,) = checked(tree, recipe).problems
    assert problem.what == f"the image has no modules of its kernel {lab.RELEASE}"
    seen = check.look(tree, inspect.newest(tree), xen=False)
    found = check.check(recipe, seen, where, alone=True)
    assert found.problems == () and "its drivers are not known" in found.notes[0]


def test_a_file_that_is_not_an_initrd(tmp_path: Path) -> None:
    tree = lab.tree(tmp_path / "tree")
    (tree / f"boot/initrd.img-{lab.RELEASE}").write_bytes(b"\x28\xb5\x2f\xfd broken")
    (problem,) = checked(tree, recipe_of()).problems
    assert "the initrd cannot be unpacked" in problem.what and problem.where == where(("kernel", "initrd"))


def test_a_kernel_that_is_not_for_xen(tmp_path: Path) -> None:
    recipe = recipe_of(hypervisors=["xen"])
    tree = lab.tree(tmp_path / "configured", config="# CONFIG_XEN_PV is not set\n")
    (problem,) = checked(tree, recipe).problems
    assert "without CONFIG_XEN_PV" in problem.what and problem.where == where(("kernel", "use"))
    assert problem.hint == "use kernel: {use: full}"
    # Without a configuration the kernel itself is unpacked and looked at.
    tree = lab.tree(tmp_path / "unconfigured", config=None)
    assert checked(tree, recipe).problems == ()
    (tree / f"boot/vmlinuz-{lab.RELEASE}").write_bytes(lab.bzimage(kernel=lab.elf([18])))
    (problem,) = checked(tree, recipe).problems
    assert "without CONFIG_XEN_PV" in problem.what
    (tree / f"boot/vmlinuz-{lab.RELEASE}").write_bytes(lab.bzimage(packed=None))
    problems = told(checked(tree, recipe).problems)
    assert len(problems) == 2 and "cannot tell whether kernel" in problems[0] and "does not know" in problems[1]


def test_a_xen_machine_with_files_needs_an_initrd(tmp_path: Path) -> None:
    names = ("virtio", "virtio_pci", "virtio_blk", "ext4", "xen_blkfront")
    tree = lab.tree(tmp_path / "tree", builtin=names, loadable=(), in_initrd=None)
    recipe = recipe_of(hypervisors=["xen"], kernel={"placement": "external"})
    (problem,) = checked(tree, recipe).problems
    assert "blank file name" in problem.what


def test_links_lead_nowhere_out_of_the_tree(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("CONFIG_XEN_PV=y\n")
    tree = lab.tree(tmp_path / "tree", config=None)
    (tree / f"boot/config-{lab.RELEASE}").symlink_to(secret)
    (tree / f"boot/vmlinuz-{lab.RELEASE}").write_bytes(lab.bzimage(kernel=lab.elf([18])))
    assert checked(tree, recipe_of(hypervisors=["xen"])).problems != ()


def test_an_initrd_is_unpacked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = Cache(tmp_path / "cache")
    path = tmp_path / "initrd"
    path.write_bytes(lab.initrd(["ext4"]))
    first = records.initrd(store, path)
    assert first == contents.read(path) and records.initrd(store, path) == first
    monkeypatch.setattr(contents, "read", lambda _path: pytest.fail("unpacked a second time"))
    assert records.initrd(store, path) == first
    monkeypatch.undo()
    for record in (tmp_path / "cache/kernels").iterdir():
        record.write_text("{}")
    assert records.initrd(store, path) == first
    path.write_bytes(lab.initrd(["xfs"]))
    assert records.initrd(store, path).modules == {"xfs"}


@pytest.mark.parametrize(
    ("directory", "transfer", "said"),
    [
        ("/pool/isolated/build/image", "shared", ["contains 'iso'"]),
        ("/pool/included/image", "shared", ["contains 'included'"]),
        ("/pool/isolated/included", "files", []),
        ("/pool/images", "shared", []),
    ],
)
def test_paths_that_htcondor_reads_meaning_into(directory: str, transfer: str, said: list[str]) -> None:
    recipe = recipe_of(hypervisors=["xen"], kernel={"placement": "external"}, submit={"transfer": transfer})
    found = from_recipe.directory_refusals(recipe, Path(directory), where)
    assert len(found) == len(said) and all(text in problem.what for text, problem in zip(said, found, strict=True))
