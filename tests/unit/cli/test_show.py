"""What `inv build` says to do next."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from invoke.context import Context
from invoke.exceptions import Exit

from roost.cli import build as tasks
from roost.cli import show, show_build
from roost.cli import submit as submit_tasks
from roost.events import Silent
from roost.pipeline import build
from roost.pipeline.lock import Locked
from roost.recipe.loader import Loaded
from roost.sources.lockfile import VERSION, Lock

RECIPE = """\
name: sim
os: {debian: {suite: bookworm}}
job: {command: /bin/true}
disks: [{name: root, partitions: [{mount: /, free: 64MiB}]}]
"""


def _image(loaded: Loaded, **_: object) -> build.Built:
    return build.Built(loaded.recipe.name, loaded.build, False, {}, (), {"kvm": "vm_type = kvm"}, loaded.called)


def test_an_image_of_another_name_is_booted_by_its_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(build, "image", _image)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim.yaml").write_text(RECIPE)
    own = show.build(build.build("sim.yaml", events=Silent(), sets=["machine.memory=1GiB"]))
    assert "inv boot sim.yaml " in own or "inv boot ./sim.yaml " in own
    other = show.build(build.build("sim.yaml", events=Silent(), sets=["name=zzz"]))
    assert "inv boot build/zzz/kvm.sub " in other and "cd build/zzz && condor_submit kvm.sub" in other


def test_the_next_step_of_a_recipe_elsewhere_names_its_path_as_a_shell_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(build, "image", _image)
    home = tmp_path / "a b"
    home.mkdir()
    (home / "other.yaml").write_text(RECIPE)
    built = build.build(str(home / "other.yaml"), events=Silent())
    assert f"inv boot '{home}/other.yaml' " in show.build(built)
    locked = Locked(
        "sim", home / "other.lock", Lock(lock=VERSION, name="sim", roost="1"), True, (), f"{home}/other.yaml"
    )
    assert show_build.lock(locked).endswith(f": inv build '{home}/other.yaml' --locked")


def test_success_is_said_in_json_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(build, "image", _image)
    (tmp_path / "sim.yaml").write_text(RECIPE)
    tasks.build(Context(), str(tmp_path / "sim.yaml"), json=True)
    assert json.loads(capsys.readouterr().out)["ok"] is True
    submit_tasks.explain(Context(), ["VMGAHP_ERR_CRITICAL"], json=True)
    assert json.loads(capsys.readouterr().out)["ok"] is True
    with pytest.raises(Exit):
        submit_tasks.explain(Context(), ["no such words"], json=True)
    assert json.loads(capsys.readouterr().out) == {"ok": False, "matches": []}
