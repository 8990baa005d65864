"""`inv probe` where there is no libvirt: false with the reason, nothing built, nothing left."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.errors import UsageError
from roost.events import Silent
from roost.pipeline import probe as story

PROJECT = Path(__file__).resolve().parents[3]


def call(cache: Path, *words: str) -> subprocess.CompletedProcess[str]:
    path = str(cache / "no-tools")
    return subprocess.run(
        [sys.executable, "-P", "-m", "roost", "probe", *words],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        cwd=PROJECT,
        env={**os.environ, "PATH": path, "ROOST_CACHE": str(cache), "PYTHONPATH": str(PROJECT)},
    )


@pytest.fixture
def without_libvirt(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no virsh, wherever the tests run."""
    monkeypatch.setattr("roost.host.process.which", lambda _name: None)


def test_without_libvirt_it_is_false_with_the_reason(without_libvirt: None) -> None:
    found = story.probe(Silent())
    assert not found.works and "virsh is not installed" in found.reason
    assert found.advertised().endswith("\n-\n") and 'RoostVMWorks = false\nRoostVMReason = "' in found.advertised()


@pytest.mark.parametrize("deadline", [0, -1, 100_000])
def test_a_deadline_that_is_not_valid(deadline: int) -> None:
    with pytest.raises(UsageError, match="--deadline"):
        story.probe(Silent(), deadline=deadline)


@pytest.mark.parametrize("name", ["isolated", "a b", "a;b"])
def test_a_directory_that_htcondor_misreads(tmp_path: Path, name: str) -> None:
    with pytest.raises(UsageError, match="HTCondor would misread"):
        story.install(tmp_path / name, Silent())
    assert list(tmp_path.iterdir()) == []


def test_the_task_ends_with_3_and_advertising_with_0(tmp_path: Path) -> None:
    if any((Path(place) / "virsh").exists() for place in ("/usr/local/sbin", "/usr/sbin", "/sbin")):
        pytest.fail("this test needs virsh to be away from /sbin")
    plain = call(tmp_path)
    assert plain.returncode == 3 and "do not start here: virsh is not installed" in plain.stdout
    advertised = call(tmp_path, "--advertise")
    assert advertised.returncode == 0 and advertised.stdout.splitlines()[0] == "RoostVMWorks = false"
    assert advertised.stdout.endswith("-\n")
    told = call(tmp_path, "--json")
    assert told.returncode == 3 and json.loads(told.stdout)["works"] is False
    assert not (tmp_path / story.STAGE).exists()
