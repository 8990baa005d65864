"""The submit descriptions beside an image: one for each way in which it can be started."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.condor import submission
from roost.recipe import loader
from roost.store.manifest import BuiltFile
from tests.publish import lab

SUM = "0" * 64
FILES = [
    BuiltFile("root.qcow2", "qcow2", SUM, 42 << 20, 20 << 20, 20 << 20, 0),
    BuiltFile("root.raw", "raw", SUM, 42 << 20, 20 << 20, 42 << 20, 0),
    BuiltFile("io.raw", "raw", SUM, 16 << 20, 1 << 16, 16 << 20, 0),
    BuiltFile("vmlinuz", "kernel", SUM, 8 << 20, 8 << 20, 8 << 20, 0),
    BuiltFile("initrd.img", "initrd", SUM, 4 << 20, 4 << 20, 4 << 20, 0),
]
PLACES = "kernel: {placement: both}\n"


@pytest.mark.parametrize("name", ["smoke", "debian-12", "debian-13"])
def test_the_shipped_images_are_for_both_hypervisors(name: str) -> None:
    loaded = loader.load(name, lab.PROJECT)
    found = submission.descriptions(loaded, FILES, Path("/srv/image"))
    assert list(found) == ["kvm", "xen"]
    assert "root.qcow2:vda:w:qcow2,io.raw:vdb:w:raw" in found["kvm"].text
    assert "root.raw:xvda:w:raw,io.raw:xvdb:w:raw" in found["xen"].text


@pytest.mark.parametrize(
    ("more", "names", "kernel"),
    [
        ("", ["kvm", "xen", "xen-files"], "/srv/image/vmlinuz"),
        ("submit: {xen_kernel: files}\n", ["kvm", "xen", "xen-included"], "/srv/image/vmlinuz"),
        ("submit: {kernel_path: /ep}\n", ["kvm", "xen", "xen-files"], "/ep/vmlinuz"),
        ("submit: {xen_kernel: files, kernel_path: /ep}\n", ["kvm", "xen", "xen-included"], "/ep/vmlinuz"),
    ],
)
def test_a_kernel_in_both_places_gives_three(tmp_path: Path, more: str, names: list[str], kernel: str) -> None:
    (lab.project(tmp_path / "p") / "recipes/both.yaml").write_text(
        f"extends: [smoke.yaml]\nname: both\nhypervisors: !replace [kvm, xen]\n{PLACES}{more}"
    )
    found = submission.descriptions(loader.load("both", tmp_path / "p"), FILES, Path("/srv/image"))
    assert list(found) == names
    files, included = sorted((found[name].text for name in names[1:]), key=lambda text: "= included" in text)
    assert f"xen_kernel           = {kernel}\n" in files
    assert "xen_kernel           = included\n" in included
    # The disks are the same files.
    assert "root.raw:xvda:w:raw,io.raw:xvdb:w:raw" in files
    assert "root.raw:xvda:w:raw,io.raw:xvdb:w:raw" in included


def test_a_description_that_htcondor_could_not_start_is_left_out(tmp_path: Path) -> None:
    (lab.project(tmp_path) / "recipes/both.yaml").write_text(
        f"extends: [smoke.yaml]\nname: both\nhypervisors: !replace [kvm, xen]\n{PLACES}"
    )
    loaded = loader.load("both", tmp_path)
    assert list(submission.descriptions(loaded, FILES, Path("/srv/included"))) == ["kvm", "xen"]
