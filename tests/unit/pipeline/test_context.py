"""What the steps of a build share, and what a command does once."""

from __future__ import annotations

import hashlib
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from roost.cli.verb import verb
from roost.condor import emit, submission
from roost.events import Silent, Stages
from roost.host.accelerator import ApplianceAccelerator, Kind
from roost.pipeline import build, planning, publish
from roost.pipeline.context import Context
from roost.pipeline.planning import BuildPlan
from roost.recipe import loader
from roost.store import manifest, staging
from tests.publish import lab


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lab.project(tmp_path)


def counted(monkeypatch: pytest.MonkeyPatch, module: Any, name: str) -> list[Any]:
    """Let a function of a module note its first argument at each call."""
    real, calls = getattr(module, name), []

    def noting(*args: Any, **options: Any) -> Any:
        calls.append(args[0])
        return real(*args, **options)

    monkeypatch.setattr(module, name, noting)
    return calls


def as_built(_context: Context) -> BuildPlan:
    """Return a plan whose image is the one that the laboratory left."""
    source: Any = None
    return BuildPlan(source, hashlib.sha256(b"key").hexdigest())


def test_an_accelerator_is_probed_once_and_only_when_asked() -> None:
    probes: list[int] = []

    def probe() -> Kind:
        probes.append(1)
        return "kvm"

    accelerator = ApplianceAccelerator(probe)
    assert not probes
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: accelerator.kind, range(8))) == {"kvm"}
    assert len(probes) == 1


def test_a_probe_that_fails_is_tried_again() -> None:
    answers = iter([OSError("busy"), "tcg"])

    def probe() -> Kind:
        answer = next(answers)
        if isinstance(answer, OSError):
            raise answer
        return "tcg"

    accelerator = ApplianceAccelerator(probe)
    with pytest.raises(OSError, match="busy"):
        accelerator.find()
    assert accelerator.kind == "tcg"


def test_the_target_is_where_the_image_is_staged(root: Path, tmp_path: Path) -> None:
    directory = tmp_path / "out" / "smoke"
    directory.parent.mkdir()
    context = Context(lab.load(root), directory, Stages(), tmp_path / "log")
    with staging.staged(directory) as target:
        assert context.target == target
    (tmp_path / "link").symlink_to(directory)
    with staging.staged(tmp_path / "link") as target:
        assert Context(context.loaded, tmp_path / "link", Stages(), tmp_path).target == target


def test_publish_loads_and_checks_the_recipe_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.ready(root)
    monkeypatch.setattr(planning, "plan", as_built)
    loaded = counted(monkeypatch, loader, "load")
    checked = counted(monkeypatch, planning, "problems")
    publish.publish(lab.NAME, to=str(root / "catalogue"), events=Silent())
    assert (len(loaded), len(checked)) == (1, 1)


def test_build_checks_the_recipe_and_renders_its_description_once(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = lab.built(root)
    monkeypatch.setattr(planning, "plan", as_built)
    checked = counted(monkeypatch, planning, "problems")
    judged = counted(monkeypatch, emit, "judge")
    built = build.build(lab.NAME, events=Silent())
    assert built.cached
    # The description was judged when it was written: what has not changed is rendered for its lines alone.
    assert (len(checked), len(judged)) == (1, 0)
    record = manifest.read(directory)
    assert record is not None
    assert submission.write(lab.load(root), record.files, directory, directory) == built.snippets
    assert judged == [(directory / "kvm.sub").read_text()]


@dataclass(frozen=True, slots=True)
class Flags:
    depth: int = 1
    only: list[str] | None = None
    dry_run: bool = False


def test_the_fields_of_a_dataclass_are_flags() -> None:
    given: list[Any] = []

    @verb(positional=("name",), help={"dry-run": "write nothing"})
    def task(_context: object, name: str, flags: Flags, json: bool = False) -> None:
        """Do it."""
        given.extend([name, flags, json])

    arguments = {argument.name: argument for argument in task.get_arguments()}
    assert set(arguments) == {"name", "depth", "only", "dry_run", "json"}
    assert arguments["depth"].default == 1
    task.body(None, name="x", depth=3, only=["a"], dry_run=True, json=True)
    assert given == ["x", Flags(3, ["a"], True), True]
    given.clear()
    task.body(None, name="x")
    assert given == ["x", Flags(), False]
