"""A kernel that is given as files: what is wrong with them is told before anything is built."""

from __future__ import annotations

import io
import os
import tarfile
from pathlib import Path
from typing import Any

import pytest

from roost.kernel import catalogue, given
from roost.pipeline import check
from roost.recipe.model import Recipe
from tests.unit import kernel_lab as lab

ROOT = {"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "8MiB"}]}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "kernels").mkdir()
    (tmp_path / "recipes").mkdir()
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def told(project: Path, *hypervisors: str, **parts: str) -> list[str]:
    lines = "".join(f"  {name}: {part}\n" for name, part in parts.items())
    (project / "kernels/mine.yaml").write_text(f"description: mine\nfiles:\n{lines}")
    recipe: dict[str, Any] = {"name": "image", "os": {"tree": {"path": "tree"}}, "disks": [ROOT]}
    recipe |= {"hypervisors": hypervisors or ("kvm",), "kernel": {"use": "mine"}}
    found = given.problems(Recipe.model_validate(recipe), catalogue.load("mine", project))
    return [f"{problem.where}: {problem.what}" for problem in found]


def modules(path: Path, release: str) -> None:
    with tarfile.open(path, "w:xz") as archive:
        member = tarfile.TarInfo(f"lib/modules/{release}/kernel/fs/ext4/ext4.ko")
        member.size = 4
        archive.addfile(member, io.BytesIO(b"\x7fELF"))


def test_good_files_are_silent(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    (project / "kernels/initrd").write_bytes(lab.initrd(["ext4"]))
    modules(project / "kernels/modules.tar.xz", lab.RELEASE)
    parts = {"initrd": "{path: initrd}", "modules": "{path: modules.tar.xz}"}
    assert told(project, "kvm", "xen", kernel="{path: vmlinuz}", **parts) == []
    url = f"{{url: 'https://nowhere.invalid/x', sha256: '{'0' * 64}'}}"
    assert told(project, kernel=url, modules=url) == []


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "this is not an x86 kernel"),
        (b"\x7fELF" + bytes(4096), "this is not an x86 kernel"),
        (b"\x1f\x8b\x08" + bytes(70_000), "this is not an x86 kernel"),
        (lab.bzimage(kernel=lab.elf([18])), "does not start under xen: it is built without CONFIG_XEN_PV"),
        (lab.bzimage(packed=None), "is compressed in a format that Xen's loader does not know"),
        (lab.bzimage()[:-90], "cannot be unpacked"),
    ],
)
def test_what_is_not_a_kernel_that_starts(project: Path, content: bytes, said: str) -> None:
    (project / "kernels/vmlinuz").write_bytes(content)
    (found,) = told(project, "kvm", "xen", kernel="{path: vmlinuz}")
    assert found.startswith("kernels/mine.yaml:3:3: ") and said in found
    alone = told(project, "kvm", kernel="{path: vmlinuz}")
    assert alone == ([found] if "x86" in said else [])


def test_parts_of_another_kernel(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    (project / "kernels/initrd").write_bytes(lab.initrd(["ext4"], release="5.10.0-other"))
    modules(project / "kernels/modules.tar.xz", "5.10.0-other")
    parts = {"initrd": "{path: initrd}", "modules": "{path: modules.tar.xz}"}
    first, second = told(project, kernel="{path: vmlinuz}", **parts)
    assert first.startswith("kernels/mine.yaml:5:3: this has no modules of the kernel's release")
    assert second == f"kernels/mine.yaml:4:3: the initrd has modules of 5.10.0-other, and the kernel is {lab.RELEASE}"


def test_parts_that_are_something_else(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())
    (project / "kernels/initrd").write_bytes(b"no initrd" * 100)
    (project / "kernels/modules").write_bytes(b"no tar" * 1000)
    parts = {"initrd": "{path: initrd}", "modules": "{path: modules}"}
    found = told(project, kernel=f"{{path: vmlinuz, sha256: '{'1' * 64}'}}", **parts)
    assert [one.partition(": ")[0] for one in found] == [f"kernels/mine.yaml:{line}:3" for line in (3, 5, 4)]
    assert "has sha256" in found[0] and "not a complete tar" in found[1]


def test_a_file_that_nobody_may_read_is_reported(project: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (project / "kernels/vmlinuz").write_bytes(lab.bzimage())

    def denied(*_: object) -> None:
        raise PermissionError(13, os.strerror(13))

    monkeypatch.setattr("roost.host.bzimage.read", denied)
    (found,) = told(project, kernel="{path: vmlinuz}")
    assert found == "kernels/mine.yaml:3:3: vmlinuz cannot be read: Permission denied"


def test_inv_check_opens_them(project: Path) -> None:
    (project / "kernels/vmlinuz").write_bytes(b"no kernel")
    (project / "kernels/mine.yaml").write_text("description: mine\nfiles: {kernel: {path: vmlinuz}}\n")
    (project / "recipes/one.yaml").write_text(
        "name: one\nos: {debian: {suite: bookworm}}\nkernel: {use: mine}\n"
        "disks: [{name: root, partitions: [{mount: /, free: 64MiB}]}]\n"
    )
    (result,) = check.check(["one"])["recipes"]
    assert any("this is not an x86 kernel" in one for one in result["problems"]), result
