"""Kernel and initrd beside the image, on bare file systems: what Xen's machines get, booted as QEMU starts a kernel."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.images.calls import build, roost

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(600)]

RECIPE = """\
extends: smoke.yaml
name: bare
hypervisors: !replace [xen]
kernel: {placement: external}
files:
  - {path: /opt/job/run, mode: "0755", content: "#!/bin/sh\\ncp /proc/swaps /proc/mounts $ROOST_OUTPUT; echo 42 >$ROOST_OUTPUT/result.txt\\n"}
disks: !replace
  - {name: root, filesystem: ext4, mount: /, free: 16MiB, DEVICE1}
  - {name: swap, filesystem: swap, size: 16MiB, DEVICE2}
  - {name: io, filesystem: ext4, size: 16MiB, role: io, DEVICE3}
boot_test:
  expect:
    - {file: /output/swaps, on: io, matches: "^/dev/vdb "}
    - {file: /output/mounts, on: io, matches: " / ext4 "}
"""  # noqa: E501


def _write(project: Path, *devices: str) -> None:
    text = RECIPE
    for number in (1, 2, 3):
        device = f"device: {devices[number - 1]}" if devices else ""
        text = text.replace(f", DEVICE{number}", f", {device}" if device else "")
    (project / "recipes/bare.yaml").write_text(text)


def test_bare_file_systems_with_a_kernel_beside_them(project: Path) -> None:
    _write(project)
    directory = build("bare", cwd=project)
    assert {"root.raw", "swap.raw", "io.raw", "vmlinuz", "initrd.img", "xen.sub"} <= {
        path.name for path in directory.iterdir()
    }
    ran = roost("boot", "bare", "--hypervisor", "kvm", "--accel", "tcg", "--json", cwd=project)
    assert ran.code == 0, ran.out + ran.err
    assert ran.answer["passed"] is True
    assert "stands in" in ran.err
    assert json.loads((directory / "boot/kvm.json").read_text())["kernel"] != []


def test_partitions_as_disks_are_xens_alone(project: Path) -> None:
    _write(project, "xvda1", "xvda2", "xvdb1")
    directory = build("bare", cwd=project)
    description = (directory / "xen.sub").read_text()
    assert "root.raw:xvda1:w:raw,swap.raw:xvda2:w:raw,io.raw:xvdb1:w:raw" in description
    assert "xen_root             = /dev/xvda1" in description
    ran = roost("boot", "bare", "--hypervisor", "kvm", "--accel", "tcg", cwd=project)
    assert ran.code == 2
    assert "no kvm machine can stand in for it" in ran.err
