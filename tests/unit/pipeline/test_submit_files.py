"""An image of which only the submit part has changed gets other submit descriptions, and keeps its disks."""

from __future__ import annotations

import json
import os
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roost.customize import inputs
from roost.events import Silent
from roost.pipeline import build, key_parts, planning
from roost.pipeline import construct as constructing
from roost.pipeline.context import Context
from roost.pipeline.image import Keys
from roost.pipeline.planning import BuildPlan
from roost.store import manifest
from tests.publish import lab

FACTS: dict[str, Any] = {"packages": [], "filesystems": []}


@pytest.fixture
def built(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the directory of an image that the laboratory built, to be planned with the same content."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    directory = lab.built(lab.project(tmp_path), facts=FACTS)
    record = manifest.read(directory)
    assert record is not None
    (directory / "log").mkdir()
    (directory / "log/mke2fs.log").write_text("as made")
    manifest.write(directory, replace(record, keys={**record.keys, "content": "content"}))

    def plan(context: Context) -> BuildPlan:
        recipe = inputs.recipe_key(context.recipe, context.loaded.directory)
        source: Any = SimpleNamespace(key="0" * 64, epoch=lab.EPOCH)
        return BuildPlan(source, Keys("changed", "content", "base", recipe))

    monkeypatch.setattr(planning, "plan", plan)
    monkeypatch.setattr(key_parts, "of", lambda *_: {"image": {"now": 1}})
    return directory


@pytest.fixture
def constructed(monkeypatch: pytest.MonkeyPatch, built: Path) -> list[str]:
    """Return the keys of images that were built as a whole."""
    made: list[str] = []
    record = manifest.read(built)

    def construct(_context: Context, plan: BuildPlan) -> Any:
        made.append(plan.key)
        return record, {}

    monkeypatch.setattr(constructing, "construct", construct)
    return made


def _build(*sets: str, force: bool = False) -> build.Built:
    return build.build(lab.NAME, events=Silent(), sets=sets, force=force)


def test_the_disks_stay_and_the_descriptions_change(built: Path, constructed: list[str]) -> None:
    before = manifest.read(built)
    assert before is not None
    inodes = {name: (built / name).stat().st_ino for name in (*before.sums, "sbom.cdx.json")}
    (text,) = built.glob("kvm.sub")
    old = text.read_text()
    done = _build("submit.commands.priority=7")
    assert not done.cached and constructed == []
    assert {name: (built / name).stat().st_ino for name in inodes} == inodes
    assert "priority" in text.read_text() and "priority" not in old
    after = manifest.read(built)
    assert after is not None and after.key == "changed" and after.parts == {"image": {"now": 1}}
    assert after.recipe["submit"]["commands"] and after.keys["recipe"] != before.keys["recipe"]
    assert (after.files, after.facts, after.host) == (before.files, before.facts, before.host)
    assert after.seconds.items() >= before.seconds.items() and "plan" in after.seconds
    assert (built / "log/mke2fs.log").read_text() == "as made"
    assert _build("submit.commands.priority=7").cached
    assert [one.name for one in built.parent.iterdir() if "staging" in one.name] == []


def test_a_test_boot_does_not_count_for_the_new_build(built: Path, constructed: list[str]) -> None:
    (built / "boot").mkdir()
    _build("submit.commands.priority=7")
    assert constructed == [] and not (built / "boot").exists()


@pytest.mark.parametrize("fault", ["disk", "gone", "content", "damaged", "force", "links"])
def test_anything_else_is_a_whole_build(
    fault: str, built: Path, constructed: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    record = manifest.read(built)
    assert record is not None
    disk = built / next(iter(record.sums))
    if fault == "disk":
        disk.write_bytes(b"x" * disk.stat().st_size)
        os.utime(disk, ns=(0, 0))
    elif fault == "gone":
        disk.unlink()
    elif fault == "content":
        manifest.write(built, replace(record, keys={**record.keys, "content": "other"}))
    elif fault == "damaged":
        (built / manifest.NAME).write_text(json.dumps({**asdict(record), "keys": 3}))
    elif fault == "links":

        def refuse(*_: object, **__: object) -> None:
            raise PermissionError(1, "Operation not permitted")

        monkeypatch.setattr(os, "link", refuse)
    _build("submit.commands.priority=7", force=fault == "force")
    assert constructed == ["changed"]
    assert [one.name for one in built.parent.iterdir() if "staging" in one.name] == []


def test_the_key_of_the_content_leaves_out_what_only_descriptions_have(built: Path) -> None:
    loaded = lab.load(built.parent.parent)
    submit = loaded.recipe.submit.model_copy(update={"checkpoint": not loaded.recipe.submit.checkpoint})
    changed = loaded.recipe.model_copy(update={"submit": submit})
    grown = loaded.recipe.model_copy(update={"hostname": "another"})
    keys = [inputs.recipe_keys(one, loaded.directory) for one in (loaded.recipe, changed, grown)]
    assert keys[0][0] != keys[1][0] and keys[0][1] == keys[1][1]
    assert keys[0][1] != keys[2][1]
