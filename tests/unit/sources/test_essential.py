"""The first layer of trees with dpkg: what is in it, who shares it, and that it is made once."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from roost.events import Silent, Stages
from roost.sources import apt_root, essential, installation, mmdebstrap, packages
from roost.sources.bootstrap import Bootstrap
from roost.sources.installation import Step
from roost.store import entries
from roost.store.cache import Cache
from tests.apt_repository import package, served
from tests.unit.sources.loopback import NOW, Archive


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def here(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    (tmp_path / "srv").mkdir()
    with served(tmp_path / "srv") as address:
        found = Archive(tmp_path, address, cache, monkeypatch)
        package(found.directory, "base", {"/base": "x"}, Essential="yes", Pre_Depends="libbase")
        package(found.directory, "libbase", {"/lib": "x"})
        package(found.directory, "hello", {"/hello": "x"})
        package(found.directory, "world", {"/world": "x"})
        found.push()
        yield found


def _selected(here: Archive, *names: str, variant: str = "unpacked") -> Bootstrap:
    return here.select(here.wanted(*names, variant=variant))


def _layer(found: Bootstrap) -> str:
    layer = mmdebstrap.Installed(found).layer()
    assert layer is not None
    return layer[0]


def test_it_holds_the_essential_packages_and_what_they_need(here: Archive, cache: Cache) -> None:
    found = _selected(here, "hello", variant="full")
    assert [one.name for one in found.selection.packages] == ["base", "hello", "libbase"]
    assert [one.name for one in found.selection.essential] == ["base", "libbase"]
    # A lock has the same packages, and apt is asked which of them are essential.
    (cache.root / "lists").rename(cache.root / "gone")
    again = here.select(here.wanted("hello", variant="full"), replace(found.selection, lists=None, essential=()))
    assert again.selection.essential == found.selection.essential and _layer(again) == _layer(found)
    plain = _selected(here, "hello")
    assert plain.selection.essential == () and mmdebstrap.Installed(plain).layer() is None


def test_recipes_of_a_suite_share_it(here: Archive) -> None:
    one, other = _selected(here, "hello", variant="full"), _selected(here, "hello", "world", variant="full")
    assert _layer(one) == _layer(other)
    assert mmdebstrap.Installed(one).key != mmdebstrap.Installed(other).key
    # dpkg leaves out of it what the recipe leaves out.
    lean = replace(one, debian=one.debian.model_copy(update={"exclude": ("/usr/share/doc/*",)}))
    assert _layer(lean) != _layer(one)
    (here.directory / "libbase_1.0_all.deb").unlink()
    package(here.directory, "libbase", {"/lib": "y"}, "1.1")
    here.push(NOW)
    assert _layer(_selected(here, "hello", variant="full")) != _layer(one)


def test_it_is_made_once(here: Archive, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[list[str], list[str], Step]] = []

    def run(wanted: Bootstrap, step: Step, found: Sequence[Path], tar: Path, _log: Path) -> None:
        made.append(([one.name for one in wanted.selection.packages], [path.name for path in found], step))
        tar.write_text("layer")

    monkeypatch.setattr(installation, "run", run)
    stages = Stages(Silent())
    for names in (("hello",), ("world",)):
        place = essential.layer(_selected(here, *names, variant="full"), cache, stages, tmp_path / "log")
        assert (place / essential.TAR).read_text() == "layer"
        assert int((place / essential.EPOCH).read_text()) > 1
    ((chosen, files, step),) = made
    assert chosen == ["base", "libbase"] and files == ["base_1.0_all.deb", "libbase_1.0_all.deb"]
    assert "--variant=essential" in step.options and step.ordered
    assert list(stages.seconds) == ["essential"]
    kept, strangers = entries.read(cache.root)
    assert "essential" in {one.kind for one in kept} and not strangers


def test_a_tree_is_made_on_it(here: Archive, cache: Cache, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[list[str], Step]] = []

    def run(_wanted: Bootstrap, step: Step, found: Sequence[Path], tar: Path, _log: Path) -> None:
        made.append(([path.name for path in found], step))
        tar.write_text(step.hook)

    monkeypatch.setattr(installation, "run", run)
    found = _selected(here, "hello", variant="full")
    tar = mmdebstrap.bootstrap(found, cache, Stages(Silent()), tmp_path)
    assert tar.read_text() == "install" and [step.hook for _, step in made] == ["base", "install"]
    names, step = made[1]
    assert names == ["hello_1.0_all.deb"], "what is in the layer is not needed again"
    assert "--variant=minbase" in step.options
    assert Path(step.env["ROOST_LAYER"]).read_text() == "base" and step.env["ROOST_LAYER_PACKAGES"] == "2"
    assert Path(step.env["ROOST_LAYER"]).parent in step.readable


def test_apt_has_the_packages_of_the_step_only(here: Archive, tmp_path: Path) -> None:
    found = _selected(here, "hello", variant="full")
    first = replace(found, selection=replace(found.selection, packages=found.selection.essential))
    installation.give(first, tmp_path / "a", [], ordered=True)
    (listed,) = (tmp_path / "a/lists").glob("*_Packages")
    assert [line[9:] for line in listed.read_text().splitlines() if line.startswith("Package: ")] == ["base", "libbase"]
    assert packages.ordered("Package: b\nX: 1\n\nPackage: a\n\n") == "Package: a\n\nPackage: b\nX: 1\n\n"
    assert packages.ordered("") == ""


def test_what_mmdebstrap_puts_there_for_itself_is_not_in_it(tmp_path: Path) -> None:
    tree, tools = tmp_path / "tree", tmp_path / "bin"
    kept = ["etc/fstab", "etc/apt/apt.conf.d/01own", "var/lib/dpkg/status", "usr/lib/tmp/file", "home/etc/hostname"]
    left = [
        "dev/null", "tmp/x", "etc/hostname", "etc/resolv.conf", "etc/apt/sources.list", "etc/apt/sources.list.d/a.list",
        "etc/apt/apt.conf.d/00mmdebstrap", "etc/apt/apt.conf.d/99mmdebstrap", "etc/dpkg/dpkg.cfg.d/99mmdebstrap",
        "var/cache/apt/pkgcache.bin", "var/cache/apt/archives/a.deb", "var/lib/apt/lists/lock",
    ]  # fmt: skip
    for name in (*kept, *left):
        (tree / name).parent.mkdir(parents=True, exist_ok=True)
        (tree / name).write_text(name)
    tools.mkdir()
    # The packages are mounted there by hooks/setup.
    (tools / "umount").symlink_to("/bin/true")
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}"}
    subprocess.run([apt_root.hook("base"), tree, tmp_path / "layer.tar", "true"], check=True, env=environment)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert {one.name.removeprefix("./") for one in tar if one.isfile()} == {*kept}
        assert {"./dev", "./tmp", "./var/lib/apt/lists"} <= {one.name for one in tar}
