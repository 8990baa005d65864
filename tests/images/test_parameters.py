"""Other kernel parameters alone: the disks of the last build with another grub.cfg, the same as a whole build makes."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests.images.calls import roost

pytestmark = [pytest.mark.images, pytest.mark.timeout(900)]


def _built(project: Path, *more: str) -> dict[str, Any]:
    """Build smoke in a project of its own; return the answer."""
    ran = roost("build", "smoke", *more, "--json", cwd=project)
    assert ran.code == 0, ran.out + ran.err
    return dict(ran.answer)


def _sums(answer: dict[str, Any]) -> dict[str, str]:
    return {file["name"]: file["sha256"] for file in answer["files"]}


def _parameters(*words: str) -> str:
    return f"kernel.parameters={json.dumps(words)}"


@pytest.mark.parametrize(
    "sets",
    [
        (),
        ("hypervisors=[kvm]",),
        ("hypervisors=[kvm]", "disks.root.compress=zstd"),
        ("kernel.placement=both",),
    ],
    ids=["raw and qcow2", "qcow2", "compressed", "kernel beside it, too"],
)
def test_the_bytes_are_those_of_a_whole_build(project: Path, sets: tuple[str, ...]) -> None:
    given = [word for one in sets for word in ("--set", one)]
    first = _built(project, *given)
    second = _built(project, *given, "--set", _parameters("quiet", "roost.test=1"))
    assert "grub.cfg" in second["seconds"] and not {"tree", "disks"} & second["seconds"].keys()
    assert "read back" in second["seconds"]
    directory = project / "build/smoke"
    record = json.loads((directory / "manifest.json").read_text())
    texts = {path.name: path.read_bytes() for path in directory.glob("*.sub")}
    assert not [path.name for path in directory.iterdir() if path.name.startswith(".")]
    whole = _built(project, *given, "--force", "--set", _parameters("quiet", "roost.test=1"))
    assert "tree" in whole["seconds"]
    assert _sums(second) == _sums(whole) and _sums(first) != _sums(whole)
    assert texts == {path.name: path.read_bytes() for path in directory.glob("*.sub")}
    after = json.loads((directory / "manifest.json").read_text())
    for key in ("key", "keys", "inputs", "facts", "parts", "recipe"):
        assert record[key] == after[key], key


def test_a_disk_that_is_not_as_it_was_built_is_not_taken_over(project: Path) -> None:
    """Its size and time are as before, so only its sum can tell."""
    given = ["--set", "hypervisors=[kvm]"]
    first = _built(project, *given)
    disk = project / "build/smoke/root.qcow2"
    times = disk.stat()
    data = disk.read_bytes()
    assert b"the result is" in data
    disk.write_bytes(data.replace(b"the result is", b"THE RESULT IS"))
    os.utime(disk, ns=(times.st_atime_ns, times.st_mtime_ns))
    second = _built(project, *given, "--set", _parameters("quiet"))
    assert "tree" in second["seconds"] and b"THE RESULT IS" not in disk.read_bytes()
    assert _sums(first) != _sums(second) == _sums(_built(project, *given, "--force", "--set", _parameters("quiet")))


def test_a_kernel_that_is_only_beside_the_image_needs_no_other_disk(project: Path) -> None:
    given = ["--set", "kernel.placement=external", "--set", "hypervisors=[xen]", "--set", "disks.root.format=raw"]
    first = _built(project, *given)
    inodes = {name: (project / "build/smoke" / name).stat().st_ino for name in _sums(first)}
    second = _built(project, *given, "--set", _parameters("roost.test=1"))
    assert {name: (project / "build/smoke" / name).stat().st_ino for name in inodes} == inodes
    assert _sums(first) == _sums(second)
    assert "roost.test=1" in (project / "build/smoke/xen.sub").read_text()


def test_a_grub_cfg_of_the_recipe_is_not_replaced(project: Path) -> None:
    """It wins over roost's own, which has the parameters."""
    recipe = project / "recipes/smoke.yaml"
    text = recipe.read_text()
    given = project / "recipes/files/grub.cfg"
    given.write_text("set timeout=0\n")
    recipe.write_text(text.replace("files:\n", "files:\n  - {path: /boot/grub/grub.cfg, source: files/grub.cfg}\n"))
    ran = roost("build", "smoke", "--set", "hypervisors=[kvm]", "--json", cwd=project)
    other = roost("build", "smoke", "--set", "hypervisors=[kvm]", "--set", _parameters("a"), "--json", cwd=project)
    # The read-back refuses both for the same reason.
    assert (ran.code, other.code) == (1, 1) and "grub.cfg" in other.out
