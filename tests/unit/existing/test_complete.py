"""A qcow2 image that is shorter than its tables say is refused by `check`, any other is taken."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from roost.existing import complete, image_file
from roost.pipeline import check
from tests.unit.preflight.test_preflight import refusals

OPTIONS = {
    "usual": [],
    "old": ["-o", "compat=0.10"],
    "compressed": ["-c"],
    "small clusters": ["-o", "cluster_size=4k"],
    "extended": ["-o", "extended_l2=on,cluster_size=128k"],
}


def made(directory: Path, *options: str) -> Path:
    raw, image = directory / "disk.raw", directory / "disk.qcow2"
    with raw.open("wb") as file:
        file.truncate(40 << 20)
        for at in (0, 9 << 20, 39 << 20):
            file.seek(at)
            file.write(os.urandom(300_000))
    subprocess.run(["qemu-img", "convert", "-f", "raw", "-O", "qcow2", *options, str(raw), str(image)], check=True)
    return image


@pytest.mark.parametrize("kind", OPTIONS)
def test_an_image_that_is_cut_off(kind: str, tmp_path: Path) -> None:
    image = made(tmp_path, *OPTIONS[kind])
    whole = image.stat().st_size
    assert complete.problem(image) is None
    for size in (whole - 200_000, whole // 2, 70_000):
        os.truncate(shutil.copy(image, tmp_path / "cut.qcow2"), size)
        error = complete.problem(tmp_path / "cut.qcow2")
        assert error is not None and error.problem.hint == "fetch it again"
        assert error.problem.what.startswith("cut.qcow2 is cut off")


@pytest.mark.parametrize("option", ["preallocation=off", "preallocation=metadata", "compat=0.10", "cluster_size=2M"])
def test_an_image_without_data(option: str, tmp_path: Path) -> None:
    image = tmp_path / "a.qcow2"
    subprocess.run(["qemu-img", "create", "-q", "-f", "qcow2", "-o", option, str(image), "1G"], check=True)
    assert image_file.look(image).size == 1 << 30
    assert complete.problem(image) is None


def test_check_gives_the_place(tmp_path: Path) -> None:
    image = made(tmp_path)
    os.truncate(image, image.stat().st_size - 200_000)
    refusals(tmp_path, "", os_="{image: {path: disk.qcow2}}")
    found = check.check([str(tmp_path / "r.yaml")])["recipes"][0]["problems"]
    assert any(one.startswith(f"{tmp_path}/r.yaml:2:20: disk.qcow2 is cut off") for one in found), found
