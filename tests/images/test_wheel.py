"""`pip install roost`: wheel and sdist, built by hatchling, in a virtual environment that sees nothing of the system's.

Without libguestfs, without the extras and outside of any checkout it lints, explains, checks, and makes recipes, submit
descriptions and io disks; what it lacks is named.
"""

from __future__ import annotations

import json
import os
import subprocess
import tarfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.images.calls import PROJECT

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(1800)]

SUBMIT = """\
universe = vm
vm_type = kvm
vm_memory = 512
vm_disk = root.qcow2:vda:w:qcow2
queue
"""


@dataclass(frozen=True)
class Installed:
    """The installed command, and a directory of the user's with nothing of roost in it."""

    program: Path
    home: Path

    def run(self, *words: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PYTHON", "ROOST"))}
        env |= {"HOME": str(self.home), "ROOST_CACHE": str(self.home / "cache")}
        argv = [str(self.program), *words]
        done = subprocess.run(
            argv,
            cwd=self.home,
            env=env,
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        assert done.returncode == code, (words, done.returncode, done.stdout, done.stderr)
        assert "Traceback" not in done.stderr
        return done


def _python(directory: Path, *packages: str) -> Path:
    """Return the python of a new virtual environment with packages of PyPI in it."""
    subprocess.run(["/usr/bin/python3", "-m", "venv", "--clear", str(directory)], check=True, timeout=300)
    python = directory / "bin/python"
    argv = [str(python), "-m", "pip", "install", "-q", "--disable-pip-version-check", *packages]
    subprocess.run(argv, check=True, timeout=900)
    return python


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the directory with the sdist and the wheel."""
    top = tmp_path_factory.mktemp("dist")
    python = _python(top / "venv", "hatchling>=1.26,<2")
    subprocess.run([python, "-m", "hatchling", "build", "-d", str(top / "out")], cwd=PROJECT, check=True, timeout=300)
    return top / "out"


@pytest.fixture(scope="module")
def installed(built: Path, tmp_path_factory: pytest.TempPathFactory) -> Installed:
    top = tmp_path_factory.mktemp("user")
    (wheel,) = built.glob("*.whl")
    python = _python(top / "venv", str(wheel))
    (top / "home").mkdir()
    return Installed(python.with_name("roost"), top / "home")


def test_wheel_and_sdist_have_what_belongs_in_them(built: Path) -> None:
    (wheel,) = built.glob("*.whl")
    (sdist,) = built.glob("*.tar.gz")
    names = zipfile.ZipFile(wheel).namelist()
    assert {"roost/shipped/recipes/base/debian.yaml", "roost/guest/job", "roost/cli/main.py"} <= set(names)
    assert not [name for name in names if name.startswith(("tests/", ".venv", "build/"))]
    with tarfile.open(sdist) as archive:
        held = {name.partition("/")[2] for name in archive.getnames()}
    assert {"pyproject.toml", "LICENSE", "README.md", "roost/guest/job", "recipes/base/debian.yaml"} <= held
    assert not [name for name in held if name.startswith((".venv", "build/smoke", ".mypy_cache"))]


def test_it_has_neither_libguestfs_nor_the_extras(installed: Installed) -> None:
    python = installed.program.with_name("python")
    for library in ("guestfs", "s3fs", "paramiko", "cyclonedx"):
        assert subprocess.run([python, "-c", f"import {library}"], capture_output=True, check=False).returncode == 1


def test_the_tasks_that_need_no_image(installed: Installed) -> None:
    (installed.home / "old.sub").write_text(SUBMIT)
    said = json.loads(installed.run("lint", "old.sub", "--json", code=1).stdout)
    assert said["findings"]
    assert "libvirt" in installed.run("explain", "VMGAHP_ERR_INTERNAL").stdout
    installed.run("new", "./my/sim.yaml")
    assert "sim" in installed.run("check", "./my/sim.yaml").stdout
    assert "not built yet" in installed.run("submit", "./my/sim.yaml", code=2).stderr
    (installed.home / "in.txt").write_text("41\n")
    installed.run("io", "./my/sim.yaml", "in.txt", "-o", "io.raw")
    told = json.loads(installed.run("collect", "io.raw", "results", "--json", code=1).stdout)
    assert told["disks"][0]["verdict"] == "never started"
    assert (installed.home / "my/build").exists() is False


def test_what_is_missing_is_named(installed: Installed) -> None:
    for url, extra in (("s3://bucket/x", "s3"), ("sftp://host/x", "sftp")):
        said = installed.run("catalogue", "--from", url, code=3).stderr
        assert f"pip install 'roost[{extra}]'" in said
