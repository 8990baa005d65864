"""Images that the tests share: built once through the command line, as a user would."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from tests.images.calls import PROJECT, build

#: The modules that take minutes, the longest first. Where tests are handed out by module, as .ci/run does, they begin
#: in this order, so that no core is idle while the last of them ends.
LONGEST = (
    "test_boot_broken",
    "test_normal_user",
    "test_customize_systemd",
    "test_boot_xen",
    "test_existing",
    "test_disk_matrix",
    "test_boot",
    "test_existing_debian",
    "test_customize",
    "test_factory",
    "test_sources",
    "test_boot_trials",
    "test_newcomer",
    "test_boot_xen_saved",
    "test_main_job",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the tests of the longest modules first, in the order that they have."""
    order = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: order.get(item.path.stem, len(order)))


@pytest.fixture(scope="session")
def smoke() -> Path:
    """Return the directory of the image `smoke`."""
    return build("smoke")


@pytest.fixture(scope="session")
def debian_12() -> Path:
    """Return the directory of the image `debian-12`."""
    return build("debian-12")


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """Return a project of its own with the shipped recipes and kernels; the cache is shared."""
    for name in ("recipes", "kernels"):
        shutil.copytree(PROJECT / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def qemu(tmp_path: Path) -> Callable[..., str]:
    """Return a function that boots copies of disks in a plain QEMU, no roost in between, and returns the console."""

    def run(*disks: Path, timeout: float = 240, readonly: Sequence[str] = (), **written: Path) -> str:
        argv = ["qemu-system-x86_64", "-accel", "tcg", "-m", "1024", "-nographic", "-no-reboot", "-monitor", "none"]
        for disk in disks:
            copy = written.get(disk.stem, tmp_path / disk.name)
            subprocess.run(["cp", "--sparse=always", str(disk), str(copy)], check=True)
            kind = "qcow2" if disk.suffix == ".qcow2" else "raw"
            options = ",readonly=on" if disk.stem in readonly else ""
            argv += ["-drive", f"file={copy},if=virtio,format={kind}{options}"]
        done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, timeout=timeout, check=False)
        return done.stdout.decode("utf-8", "replace")

    return run
