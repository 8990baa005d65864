"""Locks and outlooks of a recipe, out of an archive on loopback: nothing is built."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from roost.cli import show_build
from roost.errors import ImageError, RecipeError, UsageError
from roost.events import Silent, Stages
from roost.pipeline import build, key_parts, lock, planning, rebuild, submit_files
from roost.pipeline.context import Context
from roost.pipeline.rebuild import Outlook
from roost.recipe import loader
from roost.sources import lockfile
from roost.sources.mmdebstrap import Installed
from roost.store import manifest
from roost.store.cache import Cache
from roost.store.manifest import Manifest
from tests.apt_repository import package, served
from tests.unit.sources.loopback import NOW, Archive

RECIPE = """\
name: x
os: {{debian: {{suite: bookworm, variant: unpacked, mirror: "{mirror}", packages: [hello]}}}}
kernel: {{use: debian-cloud, initrd: busybox}}
files: [{{path: /etc/x, source: x.txt}}]
disks: [{{name: root, partitions: [{{mount: /, filesystem: ext4, free: 5MiB}}]}}]
"""


class Project:
    """A directory with a recipe of a small archive."""

    def __init__(self, directory: Path, here: Archive) -> None:
        self.path, self.here = directory / "my" / "x.yaml", here
        self.path.parent.mkdir()
        self.path.write_text(RECIPE.format(mirror=here.address))
        (self.path.parent / "x.txt").write_text("one\n")
        self.lock = self.path.with_suffix(".lock")

    def locked(self, *, update: bool = False) -> lock.Locked:
        return lock.lock(str(self.path), events=Silent(), update=update)

    def planned(self, *, from_lock: bool = False) -> planning.BuildPlan:
        loaded = loader.load(str(self.path), self.path.parent, (), planning.problems)
        held = lockfile.read(self.lock) if from_lock else None
        return planning.plan(Context(loaded, loaded.build, Stages(), self.path.parent / "log", locked=held))

    def built(self) -> None:
        """Leave the manifest that a build would."""
        loaded = loader.load(str(self.path), self.path.parent, (), planning.problems)
        plan = self.planned()
        loaded.build.mkdir(parents=True, exist_ok=True)
        parts = key_parts.of(loaded, plan)
        recipe = loaded.recipe.model_dump(mode="json", by_alias=True)
        record = Manifest("x", plan.key, submit_files.keys(plan), {}, (), {}, {}, parts=parts, recipe=recipe)
        manifest.write(loaded.build, record)

    def outlook(self, *sets: str) -> Outlook:
        return rebuild.explain(str(self.path), events=Silent(), sets=sets)

    def named(self) -> dict[str, list[tuple[str, str]]]:
        return {one.name: [(change.kind, change.what) for change in one.changes] for one in self.outlook().stages}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Project]:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    (tmp_path / "srv").mkdir()
    with served(tmp_path / "srv") as address:
        here = Archive(tmp_path, address, Cache(tmp_path / "cache"), monkeypatch)
        package(here.directory, "hello", {"/hello": "x"})
        package(here.directory, "linux-image-6.1.0-1-cloud-amd64", {"/boot/vmlinuz": "x"})
        package(here.directory, "linux-image-cloud-amd64", {}, Depends="linux-image-6.1.0-1-cloud-amd64 (= 1.0)")
        here.push()
        yield Project(tmp_path, here)


def _newer(project: Project) -> None:
    package(project.here.directory, "hello", {"/hello": "y"}, "2.0")
    project.here.push(NOW)


def test_a_lock_is_written_kept_and_brought_up_to_date(project: Project) -> None:
    first = project.locked()
    assert first.written and first.path == project.lock
    assert [one.name for one in first.lock.packages] == ["hello", "linux-image-6.1.0-1-cloud-amd64"]
    assert first.lock.kernel == {"linux-image-6.1.0-1-cloud-amd64": "1.0"}
    before = project.planned()
    _newer(project)
    text = project.lock.read_text()
    again = project.locked()
    assert not again.written and project.lock.read_text() == text
    # The archive went on, and has both: the lock takes the old one.
    assert project.planned().key != before.key
    assert project.planned(from_lock=True).key == before.key
    updated = project.locked(update=True)
    assert updated.written
    (change,) = [one for one in updated.to_json()["changes"] if one["kind"] == "package"]
    assert (change["package"], change["old"], change["new"]) == ("hello", "1.0", "2.0")
    assert not project.locked(update=True).written


@pytest.mark.parametrize(
    ("sets", "only"),
    [
        (["submit.commands.priority=7"], "submit descriptions"),
        (["kernel.parameters=[quiet]"], "kernel parameters"),
        (["kernel.parameters=[quiet]", "submit.commands.priority=7"], "kernel parameters"),
        (["kernel.parameters=[systemd.unit=rescue.target]"], None),
        (["hostname=other"], None),
    ],
)
def test_what_of_an_image_would_be_replaced_is_told(project: Project, sets: list[str], only: str | None) -> None:
    project.built()
    found = project.outlook(*sets)
    image = found.stages[-1]
    assert (image.name, image.again, image.only) == ("image", True, only)
    shown = show_build.outlook(found).splitlines()
    assert ("image: again" if only is None else f"image: again, only its {only}") in shown


def test_a_damaged_manifest_is_not_a_missing_build(project: Project) -> None:
    assert ("build", "there is no earlier build") in project.named()["image"]
    project.built()
    path = project.path.parent / "build/x/manifest.json"
    path.write_bytes(path.read_bytes()[:100])
    assert project.outlook().again
    assert ("build", "manifest.json is damaged, or was written by another version of roost") in project.named()["image"]


def test_what_is_gone_is_said(project: Project) -> None:
    project.locked()
    project.lock.write_text(project.lock.read_text().replace('version = "1.0"', 'version = "0.9"', 1))
    with pytest.raises(ImageError, match=r"no longer has hello 0\.9 as locked"):
        project.planned(from_lock=True)


def test_a_package_of_another_content_is_told_apart_from_one_that_is_gone(project: Project) -> None:
    project.locked()
    text = project.lock.read_text()
    line = next(line for line in text.splitlines() if 'name = "hello"' in line)
    changed = re.sub(r'sha256 = "[0-9a-f]{64}"', f'sha256 = "{"ab" * 32}"', line)
    project.lock.write_text(text.replace(line, changed))
    with pytest.raises(ImageError, match=r"archive's sha256 of hello 1\.0 differs from the lock's"):
        project.planned(from_lock=True)


def test_a_lock_with_another_name_is_refused(project: Project) -> None:
    project.locked()
    project.lock.write_text(project.lock.read_text().replace('name = "x"', 'name = "y"', 1))
    for call in (project.locked, lambda: build.build(str(project.path), events=Silent(), from_lock=True)):
        with pytest.raises(UsageError, match="the lock of y, not of x") as caught:
            call()
        assert caught.value.exit_code == 2
    assert project.locked(update=True).written


def test_a_lock_of_another_recipe_is_refused(project: Project) -> None:
    with pytest.raises(UsageError, match="there is no lock"):
        build.build(str(project.path), events=Silent(), from_lock=True)
    project.locked()
    project.path.write_text(project.path.read_text().replace("[hello]", "[hello, other]"))
    with pytest.raises(UsageError, match=r"asks for other packages than .*: other"):
        project.planned(from_lock=True)
    project.lock.write_text("lock = 7\n")
    with pytest.raises(UsageError):
        project.locked()
    package(project.here.directory, "other", {"/other": "x"})
    project.here.push(NOW)
    assert project.locked(update=True).written, "a broken lock is written anew"


def test_what_would_be_built_again_and_why(project: Project) -> None:
    outlook = project.outlook()
    assert outlook.again and outlook.stages[0].changes[0].kind == "build"
    project.built()
    assert not project.outlook().again
    assert project.named() == {"rootfs": [], "image": []}

    (project.path.parent / "x.txt").write_text("two\n")
    assert project.named() == {"rootfs": [], "image": [("file", "x.txt")]}
    project.path.write_text(project.path.read_text().replace("free: 5MiB", "free: 6MiB"))
    assert ("recipe", "disks[root].partitions[/].free") in project.named()["image"]
    project.built()

    _newer(project)
    found = project.named()
    assert found == {"rootfs": [("package", "hello")], "image": [("stage", "rootfs")]}
    answer = project.outlook().to_json()
    assert answer["again"] is True and answer["stages"][0]["again"] is True
    assert answer["stages"][0]["changes"] == [{"kind": "package", "what": "hello", "old": "1.0", "new": "2.0"}]


def test_the_layer_of_a_tree_is_named_where_it_is_made_again_too(project: Project) -> None:
    project.path.write_text(project.path.read_text().replace("unpacked", "full"))
    package(project.here.directory, "base", {"/base": "x"}, Essential="yes")
    project.here.push(NOW)
    assert [one.name for one in project.outlook().stages] == ["essential", "rootfs", "image"]
    project.built()
    assert project.named() == {"rootfs": [], "image": []}, "nothing is made again, though neither is in the cache"
    (found,) = [one.layer() for one in [project.planned().tree] if isinstance(one, Installed)]
    assert found is not None
    layer = project.here.cache.root / "essential" / found[0]
    layer.mkdir(parents=True)
    _newer(project)
    assert project.named() == {"rootfs": [("package", "hello")], "image": [("stage", "rootfs")]}
    layer.rmdir()
    assert project.named()["essential"] == [], "it is gone, and nothing that it is made of changed"
    layer.mkdir()
    package(project.here.directory, "base", {"/base": "y"}, "2.0", Essential="yes")
    project.here.push(NOW)
    named = project.named()
    assert named["essential"] == [("package", "base")]
    assert named["rootfs"] == [("package", "base"), ("package", "hello")]
    assert list(named) == ["essential", "rootfs", "image"]


def test_a_build_that_an_earlier_roost_left_has_no_reasons(project: Project) -> None:
    project.built()
    loaded = loader.load(str(project.path), project.path.parent, ())
    record = manifest.read(loaded.build)
    assert record is not None
    manifest.write(loaded.build, Manifest("x", "0" * 64, record.keys, {}, (), {}, {}))
    outlook = project.outlook()
    assert outlook.again
    assert [one.what for one in outlook.stages[1].changes] == ["something that an earlier roost did not record"]


def test_a_package_that_the_archive_does_not_have_is_a_mistake_of_the_recipe(
    project: Project, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told with its place, by a build as by a lock, and the log is still there."""
    text = project.path.read_text().replace("packages: [hello]", "packages: [hello, nosuchpkg, hello, 'other:amd64']")
    project.path.write_text(text)
    monkeypatch.setenv("ROOST_ROOT", str(project.path.parent))
    for ask in (project.locked, lambda: build.build(str(project.path), events=Silent())):
        with pytest.raises(RecipeError) as raised:
            ask()
        wrong = raised.value
        assert [one.what for one in wrong.problems] == [
            "the archive of bookworm has no package nosuchpkg", "the archive of bookworm has no package other:amd64",
        ]  # fmt: skip
        places = [(one.where.line, one.where.column) for one in wrong.problems if one.where is not None]
        line = text.splitlines()[1]
        assert places == [(2, line.index("nosuchpkg") + 1), (2, line.index("'other") + 1)]
        assert wrong.exit_code == 2
        assert wrong.log is not None and "Unable to locate package nosuchpkg" in wrong.log.read_text()
    assert not project.lock.exists()
