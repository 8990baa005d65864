"""What the steps of a build share, and what a command does once."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from roost.cli.verb import verb
from roost.condor import emit, submission
from roost.errors import ImageError, UsageError
from roost.events import Silent, Stages
from roost.host.accelerator import ApplianceAccelerator, Kind
from roost.host.paths import display
from roost.pipeline import build, image, planning, publish
from roost.pipeline import construct as constructing
from roost.pipeline.context import Context, log_directory, passing_logs
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


def _keys(image_key: str, content: str = "") -> image.Keys:
    return image.Keys(image_key, content or image_key, content or image_key, image_key)


def as_built(_context: Context) -> BuildPlan:
    """Return a plan whose image is the one that the laboratory left."""
    source: Any = None
    return BuildPlan(source, _keys(hashlib.sha256(b"key").hexdigest()))


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


@dataclass
class Told(Silent):
    """Keeps the notes."""

    notes: list[str] = field(default_factory=list)

    def note(self, text: str) -> None:
        self.notes.append(text)


@pytest.mark.parametrize("hold", [staging.reading, staging.lock])
def test_a_build_that_finds_nothing_to_do_waits_for_nobody(
    hold: Callable[..., AbstractContextManager[None]], root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run of jobs reads its images for hours, and a test boot changes nothing of what a build leaves."""
    directory = lab.built(root)
    monkeypatch.setattr(planning, "plan", as_built)
    told = Told()
    with hold(directory, lambda: None), ThreadPoolExecutor(1) as pool:
        built = pool.submit(build.build, lab.NAME, events=told).result(30)
    assert built.cached and told.notes == []


@pytest.mark.parametrize("force", [False, True])
def test_a_build_that_replaces_an_image_waits_for_its_readers_and_looks_again(
    force: bool, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = lab.built(root)
    key = hashlib.sha256(b"key").hexdigest()
    plans: list[str] = []

    def plan(context: Context) -> BuildPlan:
        # The first is of another image; until the lock is free, somebody else builds that one.
        source: Any = None
        plans.append("changed" if not plans else key)
        assert context.log_dir.is_dir()
        return BuildPlan(source, _keys(plans[-1]))

    made: list[str] = []

    def construct(context: Context, plan: BuildPlan) -> Any:
        made.append(plan.key)
        return manifest.read(directory), {}

    monkeypatch.setattr(planning, "plan", plan)
    monkeypatch.setattr(constructing, "construct", construct)
    told = Told()
    with staging.reading(directory, lambda: None):
        pool = ThreadPoolExecutor(1)
        result = pool.submit(build.build, lab.NAME, events=told, force=force)
        with pytest.raises(TimeoutError):
            result.result(1)
        assert told.notes == [f"{display(directory)} is in use by another command: waiting for it"]
    assert result.result(30).cached != force
    pool.shutdown()
    assert plans == (["changed"] if force else ["changed", key])
    assert made == (["changed"] if force else [])


def test_a_build_that_did_not_wait_plans_once_and_keeps_the_logs(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = lab.built(root)
    seen: list[Path] = []

    def plan(context: Context) -> BuildPlan:
        source: Any = None
        context.log("select").write_text("what apt said")
        seen.append(context.log_dir)
        return BuildPlan(source, _keys("changed"))

    def construct(context: Context, plan: BuildPlan) -> Any:
        assert context.log("select").read_text() == "what apt said" and context.log_dir == log_directory(directory)
        return manifest.read(directory), {}

    monkeypatch.setattr(planning, "plan", plan)
    monkeypatch.setattr(constructing, "construct", construct)
    assert not build.build(lab.NAME, events=Silent()).cached
    assert len(seen) == 1 and not seen[0].exists()


def test_an_image_that_is_being_built_for_the_first_time_is_told_as_that(root: Path) -> None:
    loaded = lab.load(root)
    with pytest.raises(UsageError, match="smoke is not built yet"):
        manifest.required(loaded.build, "smoke", "smoke")
    with staging.lock(loaded.build, lambda: None), pytest.raises(UsageError, match="smoke is being built by another"):
        manifest.required(loaded.build, "smoke", "smoke")
    with pytest.raises(UsageError, match="smoke is not built yet"):
        manifest.required(loaded.build, "smoke", "smoke")


def test_the_log_of_a_failed_plan_is_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ImageError) as raised, passing_logs(tmp_path / "sim") as logs:
        (logs / "select.log").write_text("E: nothing")
        raise ImageError("x", log=logs / "select.log")
    assert raised.value.log is not None and raised.value.log.is_relative_to(tmp_path / "cache/log")
    assert raised.value.log.read_text() == "E: nothing"
    assert not logs.exists()


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
