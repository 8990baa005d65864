"""Verdicts of earlier boots: one that somebody else wrote counts for nothing, whatever it holds."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.pipeline import booted
from roost.store import manifest
from tests.publish import lab


@pytest.mark.parametrize(
    "text",
    ["[1]", '"x"', "null", "5", "{}", '{"passed": true}', '{"passed": true, "disks": 5}',
     '{"passed": true, "disks": [5]}', '{"passed": true, "disks": [{"name": [], "sha256": 1}]}',
     '{"passed": "yes", "disks": []}', "[" * 100_000],
)  # fmt: skip
def test_a_verdict_of_another_shape_reads_as_none(text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    directory = lab.built(lab.project(tmp_path))
    record = manifest.read(directory)
    assert record is not None
    (directory / "boot").mkdir()
    (directory / "boot/kvm.json").write_text(text)
    assert not booted.passed(directory, "kvm", record, "test")
    assert booted.is_due(lab.load(tmp_path), directory, "kvm", require_kvm=True)
