"""What `inv build` says to do next."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.cli import show
from roost.events import Silent
from roost.pipeline import build
from roost.recipe.loader import Loaded

RECIPE = """\
name: sim
os: {debian: {suite: bookworm}}
job: {command: /bin/true}
disks: [{name: root, partitions: [{mount: /, free: 64MiB}]}]
"""


def test_an_image_of_another_name_is_booted_by_its_description(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def image(loaded: Loaded, **_: object) -> build.Built:
        return build.Built(loaded.recipe.name, loaded.build, False, {}, (), {"kvm": "vm_type = kvm"}, loaded.called)

    monkeypatch.setattr(build, "image", image)
    monkeypatch.chdir(tmp_path)
    (tmp_path / "sim.yaml").write_text(RECIPE)
    own = show.build(build.build("sim.yaml", events=Silent(), sets=["machine.memory=1GiB"]))
    assert "inv boot sim.yaml " in own or "inv boot ./sim.yaml " in own
    other = show.build(build.build("sim.yaml", events=Silent(), sets=["name=zzz"]))
    assert "inv boot build/zzz/kvm.sub " in other and "cd build/zzz && condor_submit kvm.sub" in other
