"""The factory with builds, boots and publications that are made up: which images, which order, what becomes of each."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from roost.cli import lastresort
from roost.errors import HostError, ImageError, RecipeError, UsageError
from roost.factory.outcome import Outcome
from roost.factory.progress import Silent
from roost.host import paths
from roost.pipeline import ahead, boot, booted, build, factory, factory_steps, family, publish
from roost.pipeline.factory import Factory, Options
from roost.recipe.loader import Loaded
from roost.store import closure

SHIPPED = paths.shipped_root()
TINY = """\
name: {name}
os: {{debian: {{suite: bookworm, variant: unpacked, packages: [busybox-static]}}}}
kernel: {{use: debian-cloud, initrd: busybox}}
disks:
  - name: root
    format: qcow2
    partitions: [{{mount: /, filesystem: ext4, free: 16MiB}}]
machine: {{memory: 256MiB, cpus: 1, network: none}}
"""


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with three variants of one recipe and another recipe, in which the tests are."""
    top = tmp_path.resolve() / "project"
    (top / "recipes/base").mkdir(parents=True)
    shutil.copytree(SHIPPED / "kernels", top / "kernels")
    (top / "recipes/three.yaml").write_text(TINY.format(name="three") + "matrix: {hostname: [a, b, c]}\n")
    (top / "recipes/one.yaml").write_text(TINY.format(name="one").replace("bookworm", "trixie"))
    monkeypatch.chdir(top)
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    return top


class Made:
    """Stands for build, boot and publication: knows what was called, and fails where it is told to."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.bad: dict[str, Exception] = {}
        self.bad_boots: set[str] = set()
        self.fresh: set[str] = set()

    def _call(self, what: str) -> None:
        self.calls.append(what)
        if what in self.bad:
            raise self.bad[what]

    def build(self, loaded: Loaded, **_: Any) -> Any:
        self._call(f"build {loaded.recipe.name}")
        return SimpleNamespace(cached=loaded.recipe.name in self.fresh)

    def boot(self, loaded: Loaded, **_: Any) -> Any:
        self._call(f"boot {loaded.recipe.name}")

    def verdict(self, directory: Path, hypervisor: str) -> dict[str, Any]:
        passed = directory.name not in self.bad_boots
        said = {"passed": passed, "phase": "job", "cause": "job-failed", "detail": "exit 1", "console": "the end"}
        return {"hypervisor": hypervisor, "report": str(directory / "boot/report.html"), "seconds": 1.0, **said}

    def publish(self, loaded: Loaded, target: Any, **_: Any) -> Any:
        self._call(f"publish {loaded.recipe.name}")
        release = SimpleNamespace(version="1", directory=f"{loaded.recipe.name}/1")
        return SimpleNamespace(release=release, url=target.url, new=True)


@pytest.fixture
def made(monkeypatch: pytest.MonkeyPatch) -> Made:
    one = Made()
    monkeypatch.setattr(build, "image", one.build)
    monkeypatch.setattr(boot, "image", one.boot)
    monkeypatch.setattr(booted, "counts", lambda loaded, *_, **__: f"{loaded.recipe.name} booted" in one.fresh)
    monkeypatch.setattr(booted, "verdict", one.verdict)
    monkeypatch.setattr(publish, "hand_over", one.publish)

    def layer(*_: object) -> Outcome:
        one.calls.append("layer")
        return Outcome("done")

    monkeypatch.setattr(factory_steps, "layer", layer)
    monkeypatch.setattr(ahead, "prepare", lambda loaded: one.calls.append(f"prepare {loaded.recipe.name}"))
    return one


def prepared(*names: str, **options: Any) -> Factory:
    return factory.prepare(names, Options(**options), Silent(), lastresort.told)


def images(*names: str, **options: Any) -> dict[str, dict[str, Any]]:
    said = prepared(*names, **options).run().to_json()
    json.dumps(said)
    return {one["name"]: one for one in said["images"]}


def test_all_recipes_of_the_project_with_the_shared_tree_first(project: Path, made: Made) -> None:
    said = images(jobs=1)
    assert list(said) == ["one", "three-a", "three-b", "three-c"]
    assert all(
        one["built"] and one["booted"] and not one["published"] and one["cause"] is None for one in said.values()
    )
    assert made.calls.count("layer") == 1
    assert made.calls.index("layer") < made.calls.index("build three-a")
    assert sorted(made.calls) == sorted(["layer", *(f"{step} {name}" for name in said for step in ("build", "boot"))])


def test_what_all_images_wait_for_is_prepared_while_a_shared_layer_leaves_cores_idle(project: Path, made: Made) -> None:
    images(jobs=2)
    assert made.calls.count("prepare three-a") == 1
    made.calls.clear()
    images(jobs=1)
    images("one", jobs=2)
    assert not [one for one in made.calls if one.startswith("prepare")]


def test_a_failing_image_stops_no_other(project: Path, made: Made, tmp_path: Path) -> None:
    made.bad = {"build three-a": ImageError("no room"), "publish one": HostError("no network")}
    made.bad_boots = {"three-b"}
    result = prepared(publish=str(tmp_path / "catalogue")).run()
    said = {one["name"]: one for one in result.to_json()["images"]}
    assert said["three-a"]["cause"] == "build: no room" and not said["three-a"]["built"]
    assert said["three-b"]["cause"] == "test boot: kvm: job-failed (phase job): exit 1"
    assert said["three-b"]["tail"] == "the end" and said["three-b"]["built"] and not said["three-b"]["booted"]
    assert said["one"]["booted"] and not said["one"]["published"] and said["one"]["fault"] == "host"
    assert said["three-c"]["published"] and said["three-c"]["version"] == "1"
    assert "boot three-a" not in made.calls and "publish three-b" not in made.calls
    assert result.code == 3


def test_a_bug_is_the_failure_of_its_image(project: Path, made: Made) -> None:
    made.bad = {"build three-a": ZeroDivisionError("division by zero")}
    said = images("three")
    assert "a bug in roost" in said["three-a"]["cause"] and Path(said["three-a"]["log"]).is_file()
    assert said["three-b"]["booted"]


def test_what_is_fresh_is_not_made_again(project: Path, made: Made) -> None:
    made.fresh = {"one", "one booted"}
    said = images("one")
    assert made.calls == ["build one"]
    assert {step: one["state"] for step, one in said["one"]["steps"].items()} == {
        "build": "cached",
        "test boot": "cached",
    }
    assert said["one"]["booted"]


def test_broken_variants_and_recipes_are_named_and_the_others_are_made(project: Path, made: Made) -> None:
    path = project / "recipes/three.yaml"
    path.write_text(path.read_text().replace("[a, b, c]", "[a, 'not a name!', c]"))
    (project / "recipes/worse.yaml").write_text("name: [\n")
    result = prepared().run()
    said = {one["name"]: one for one in result.to_json()["images"]}
    broken = [one for one in said.values() if one["cause"]]
    assert len(said) == 5 and len(broken) == 2 and said["three-a"]["booted"] and said["three-c"]["booted"]
    assert all("recipes/" in one["cause"] and one["fault"] == "recipe" for one in broken)
    assert "a host name" in " ".join(one["cause"] for one in broken)
    assert result.code == 2


def test_all_mistakes_of_a_recipe_are_reported_up_to_a_bound(project: Path, made: Made) -> None:
    path = project / "recipes/three.yaml"
    path.write_text(path.read_text() + "".join(f"nokey{number}: 1\n" for number in range(12)))
    (project / "recipes/one.yaml").write_text("name: one\n" + "".join(f"nokey{number}: 1\n" for number in range(20)))
    result = prepared().run()
    said = {one["name"]: one["problems"] for one in result.to_json()["images"]}
    assert len(said["three-a"]) == 9 and said["three-a"] == said["three-b"]
    assert said["three-a"][-1] == "4 more: inv check recipes/three.yaml"
    assert len(said["one"]) == 9 and said["one"][-1].endswith(" more: inv check recipes/one.yaml")
    assert sorted(result.mistakes) == ["one", "three-a, three-b, three-c"]


def test_a_name_of_no_recipe_is_a_wrong_call_and_nothing_is_made(project: Path, made: Made) -> None:
    with pytest.raises(RecipeError, match="no such recipe: 'nosuch'"):
        prepared("one", "nosuch")


def test_an_image_named_twice_is_made_once(project: Path, made: Made) -> None:
    said = images("three-a", "three", "recipes/three.yaml", "one", "./recipes/one.yaml")
    assert len(said) == 4
    assert made.calls.count("build one") == 1 and made.calls.count("build three-a") == 1


def test_two_recipes_of_one_name_are_not_one_image(project: Path, made: Made) -> None:
    (project / "recipes/again.yaml").write_text(TINY.format(name="one"))
    result = prepared("again", "one", "one").run()
    said = {one["called"]: one for one in result.to_json()["images"]}
    assert said["again"]["booted"] and "both named one" in said["one"]["cause"] and result.code == 2


def test_without_any_recipe_nothing_is_not_a_success(project: Path) -> None:
    for path in (project / "recipes").glob("*.yaml"):
        path.unlink()
    with pytest.raises(UsageError, match="there are no recipes in"):
        prepared()


def test_what_an_image_is_made_from_is_built_before_it(project: Path, made: Made) -> None:
    (project / "recipes/top.yaml").write_text(
        "name: top\nos: {image: {recipe: one}}\ndisks: [{name: root, format: qcow2}]\n"
        "machine: {memory: 256MiB, cpus: 1, network: none}\n"
    )
    said = images("top")
    assert made.calls == ["build one", "build top", "boot top"] and list(said) == ["top"]
    made.calls.clear()
    made.bad = {"build one": ImageError("broken")}
    said = images("top", "one", "three-a")
    assert said["one"]["cause"] == "build: broken"
    assert said["top"]["cause"] == "build: one failed: broken" and "build top" not in made.calls
    assert said["three-a"]["booted"]


def test_two_images_of_one_name_are_not_published(project: Path, made: Made, tmp_path: Path) -> None:
    (tmp_path / "one.yaml").write_text(TINY.format(name="one"))
    with pytest.raises(UsageError, match="2 images are named one"):
        prepared("one", str(tmp_path / "one.yaml"), publish=str(tmp_path / "catalogue"))
    assert len(images("one", str(tmp_path / "one.yaml"))) == 1  # by name; there are two
    assert made.calls.count("build one") == 2


@pytest.mark.parametrize(
    "options", [{"jobs": 0}, {"keep": 0, "publish": "x"}, {"keep": 3}, {"public": "https://x"}, {"key": Path("k")}]
)
def test_calls_that_cannot_be_carried_out(options: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        Options(**options)


def test_old_versions_are_removed_after_publication(
    project: Path, made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[str, int | None]] = []

    def collect(url: str, rules: Any, *_: Any, delete: bool) -> Any:
        asked.append((url, rules.keep))
        if url.endswith("/three-a"):
            raise HostError("no network")
        return SimpleNamespace(items=[], notes=[])

    monkeypatch.setattr("roost.publish.gc.collect", collect)
    made.bad = {"publish one": ImageError("refused")}
    said = images(publish=str(tmp_path / "catalogue"), keep=3)
    assert sorted(asked) == [(f"{tmp_path}/catalogue/three-{one}", 3) for one in "abc"]
    assert said["three-a"]["published"] and "not removed: no network" in said["three-a"]["cause"]
    assert said["three-b"]["cause"] is None


def test_an_interrupted_run_tells_what_was_done(project: Path, made: Made, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("roost.host.interruption.interrupt", lambda: None)
    made.bad = {"build three-a": KeyboardInterrupt()}  # type: ignore[dict-item]
    one = prepared("one", "three", jobs=1)
    with pytest.raises(KeyboardInterrupt):
        one.run()
    result = one.result(stopped=True)
    said = {each["name"]: each for each in result.to_json()["images"]}
    assert said["one"]["booted"] and said["one"]["cause"] is None
    assert said["three-b"]["cause"] == "build: not run: the factory was stopped"
    assert not result.ok and result.code == 1


def git(root: Path, *words: str) -> None:
    settings = ["-c", "user.name=t", "-c", "user.email=t@t", "-c", "commit.gpgsign=false"]
    subprocess.run(["git", "-C", str(root), *settings, *words], check=True, capture_output=True)


@pytest.fixture
def versioned(project: Path) -> Callable[[], list[str]]:
    """Return what tells which images may be another since the last commit of the project."""
    (project / "recipes/files").mkdir()
    (project / "recipes/files/run").write_text("run")
    (project / "recipes/base/small.yaml").write_text("description: small\n")
    path = project / "recipes/one.yaml"
    path.write_text(f"extends: [base/small.yaml]\n{path.read_text()}files: [{{path: /opt/there, source: files}}]\n")
    (project / "README").write_text("read me")
    (project / ".gitignore").write_text("build/\n*.tmp\n")
    git(project, "init", "-q")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "one")

    def changed() -> list[str]:
        return [member.name for member in prepared(since="HEAD").family.members]

    return changed


def test_with_nothing_changed_there_is_nothing_to_do(
    versioned: Callable[[], list[str]], made: Made, project: Path
) -> None:
    assert versioned() == []
    (project / "README").write_text("changed")
    assert versioned() == []
    result = prepared(since="HEAD").run()
    assert result.ok and result.to_json()["images"] == [] and made.calls == []


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ("recipes/three.yaml", ["three-a", "three-b", "three-c"]),
        ("recipes/base/small.yaml", ["one"]),
        ("recipes/files/run", ["one"]),
        ("recipes/files/new", ["one"]),
        ("recipes/files/ignored.tmp", ["one"]),
        ("kernels/debian-cloud.yaml", ["one", "three-a", "three-b", "three-c"]),
        ("kernels/debian.yaml", []),
    ],
)
def test_an_input_that_changed_chooses_its_images(
    versioned: Callable[[], list[str]], project: Path, path: str, wanted: list[str]
) -> None:
    file = project / path
    file.write_text((file.read_text() if file.exists() else "") + "\n# changed\n")
    assert versioned() == wanted


def test_a_removed_file_of_a_directory_and_a_broken_recipe_count(
    versioned: Callable[[], list[str]], project: Path
) -> None:
    (project / "recipes/files/second").write_text("2")
    git(project, "add", "-A")
    git(project, "commit", "-qm", "two")
    (project / "recipes/files/second").unlink()
    assert versioned() == ["one"]
    git(project, "checkout", "-q", ".")
    (project / "recipes/base/small.yaml").unlink()
    assert versioned() == ["one"]


def test_a_changed_link_and_what_it_leads_to_count(versioned: Callable[[], list[str]], project: Path) -> None:
    (project / "real").write_text("1")
    (project / "recipes/files/run").unlink()
    (project / "recipes/files/run").symlink_to("../../real")
    path = project / "recipes/one.yaml"
    path.write_text(path.read_text().replace("source: files", "source: files/run"))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "two")
    assert versioned() == []
    (project / "real").write_text("2")
    assert versioned() == ["one"]


def test_roosts_own_code_chooses_all(
    versioned: Callable[[], list[str]], project: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    package = project / "roost"
    shutil.copytree(closure.PACKAGE, package, ignore=shutil.ignore_patterns("__pycache__"))
    git(project, "add", "-A")
    git(project, "commit", "-qm", "two")
    files = closure.files

    def there(makers: Sequence[str], left_out: Sequence[str]) -> dict[Path, str]:
        return files(makers, left_out, package)

    monkeypatch.setattr(closure, "PACKAGE", package)
    monkeypatch.setattr(closure, "files", there)
    assert versioned() == []
    (package / "cli/show.py").write_text("# changed")
    assert versioned() == []
    (package / "disk/grub.py").write_text("# changed")
    assert len(versioned()) == 4


def test_recipes_outside_of_a_repository_and_unknown_revisions_are_wrong_calls(
    versioned: Callable[[], list[str]], tmp_path: Path
) -> None:
    with pytest.raises(UsageError, match="has no revision 'nosuch'"):
        prepared(since="nosuch")
    (tmp_path / "lone.yaml").write_text(TINY.format(name="lone"))
    with pytest.raises(UsageError, match="not in a git repository"):
        prepared(str(tmp_path / "lone.yaml"), since="HEAD")


def test_trees_are_one_where_nothing_that_makes_them_differs(project: Path) -> None:
    (project / "recipes/other.yaml").write_text(
        TINY.format(name="other").replace("busybox-static", "busybox-static, mawk")
    )
    members = {member.name: member for member in family.chosen((), project)}
    layers = {name: family.layer_of(member.loaded) for name, member in members.items() if member.loaded}
    assert layers["three-a"] == layers["three-b"] == layers["three-c"]
    assert len(set(layers.values())) == 3
