"""Which packages a tree gets: apt itself selects them out of archives that the tests make, signed and served here."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from roost.errors import HostError, ImageError
from roost.sources import apt_root, boot_loader, debs, keyring, mmdebstrap
from roost.sources.bootstrap import Bootstrap
from roost.sources.packages import Package, Selection
from roost.store.cache import Cache
from tests.apt_repository import Key, package, publish, served
from tests.unit.sources.loopback import KEY, NOW, Archive


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Cache:
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path / "cache"))
    return Cache(tmp_path / "cache")


@pytest.fixture
def here(tmp_path: Path, cache: Cache, monkeypatch: pytest.MonkeyPatch) -> Iterator[Archive]:
    (tmp_path / "srv").mkdir()
    with served(tmp_path / "srv") as address:
        yield Archive(tmp_path, address, cache, monkeypatch)


def _names(found: Bootstrap) -> list[str]:
    return [f"{one.name} {one.version}" for one in found.selection.packages]


def _key(found: Bootstrap) -> str:
    return mmdebstrap.Installed(found).key


def test_an_archive_that_changed_elsewhere_selects_the_same_tree(here: Archive) -> None:
    package(here.directory, "hello", {"/hello": "x"})
    package(here.directory, "other", {"/other": "x"})
    here.push()
    first = here.select(here.wanted("hello"))
    assert _names(first) == ["hello 1.0"] and here.updates == 1
    assert _key(here.select(here.wanted("hello"))) == _key(first) and here.updates == 1, "nothing new: apt is not asked"
    # The date alone: nothing that apt reads is another.
    here.push(NOW)
    moved = here.wanted("hello")
    assert moved.index.digests != first.index.digests and moved.index.states == first.index.states
    assert _key(here.select(moved)) == _key(first) and here.updates == 1
    # Another version of a package that is not in use.
    (here.directory / "other_1.0_all.deb").unlink()
    package(here.directory, "other", {"/other": "y"}, "2.0")
    here.push(NOW)
    pushed = here.select(here.wanted("hello"))
    assert pushed.index.states != first.index.states and here.updates == 2
    assert _key(pushed) == _key(first)
    # And one that is.
    package(here.directory, "hello", {"/hello": "y"}, "1.1")
    here.push(NOW)
    newer = here.select(here.wanted("hello"))
    assert _names(newer) == ["hello 1.1"] and _key(newer) != _key(first)


def test_the_same_version_with_other_content_is_another_tree(here: Archive) -> None:
    path = package(here.directory, "hello", {"/hello": "x"})
    here.push()
    first = here.select(here.wanted("hello"))
    path.unlink()
    package(here.directory, "hello", {"/hello": "longer"})
    here.push(NOW)
    again = here.select(here.wanted("hello"))
    assert _names(again) == _names(first) and _key(again) != _key(first)


def test_a_full_tree_gets_the_essential_the_required_and_what_they_need(here: Archive) -> None:
    package(here.directory, "base", {"/base": "x"}, Essential="yes", Pre_Depends="libc")
    package(here.directory, "libc", {"/libc": "x"})
    package(here.directory, "need", {"/need": "x"}, Priority="required")
    package(here.directory, "tool", {"/tool": "x"}, Depends="either | libc", Recommends="more")
    for name in ("either", "more", "idle"):
        package(here.directory, name, {f"/{name}": "x"})
    here.push()
    found = here.select(here.wanted("tool", variant="full"))
    # `either` comes first in the dependency, but what is installed already will do.
    assert _names(found) == ["base 1.0", "libc 1.0", "need 1.0", "tool 1.0"]
    assert found.selection.lists is not None
    for name in ("merged", "sources"):
        (held,) = (found.selection.lists / name).glob("*_Packages")
        assert held.read_text().count("Package: ") == 4
        assert list((found.selection.lists / name).glob("*_InRelease"))


def test_a_package_that_is_not_there_is_named(here: Archive) -> None:
    package(here.directory, "hello", {"/hello": "x"})
    here.push()
    with pytest.raises(ImageError, match="no package nowhere"):
        here.select(here.wanted("hello", "nowhere"))


def test_a_lock_holds_a_version_as_long_as_the_archive_has_it(here: Archive) -> None:
    package(here.directory, "hello", {"/hello": "x"})
    here.push()
    locked = here.select(here.wanted("hello")).selection
    package(here.directory, "hello", {"/hello": "y"}, "2.0")
    here.push(NOW)
    assert _names(here.select(here.wanted("hello"))) == ["hello 2.0"]
    assert _names(here.select(here.wanted("hello"), locked)) == ["hello 1.0"]
    absent = Selection((Package("hello", "1.0", "all", "ab" * 32),))
    with pytest.raises(ImageError, match=r"sha256 of hello 1\.0 differs from the lock's"):
        here.select(here.wanted("hello"), absent)
    (here.directory / "hello_1.0_all.deb").unlink()
    # An older index than the one before would be none to apt.
    here.push("Tue, 03 Nov 2026 00:00:00 UTC")
    with pytest.raises(ImageError, match=r"no longer has hello 1\.0 as locked"):
        here.select(here.wanted("hello"), absent)


def test_the_boot_loader_comes_from_the_same_archive(here: Archive, tmp_path: Path) -> None:
    package(here.directory, "hello", {"/hello": "x"})
    here.push()
    without = here.select(here.wanted("hello"))
    assert without.selection.tools == () and boot_loader.modules(without, here.cache, here.log) is None
    package(here.directory, "grub-pc-bin", {"/usr/lib/grub/i386-pc/boot.img": "GRUB"})
    here.push(NOW)
    found = here.select(here.wanted("hello"))
    assert [one.name for one in found.selection.tools] == ["grub-pc-bin"] and _names(found) == ["hello 1.0"]
    assert _key(found) == _key(without), "it is in no tree"
    modules = boot_loader.modules(found, here.cache, here.log)
    assert modules is not None and (modules / "boot.img").read_text() == "GRUB"


def test_what_is_selected_is_downloaded_and_then_needs_no_archive(here: Archive, tmp_path: Path) -> None:
    package(here.directory, "hello", {"/hello": "x"}, "1:2")
    flat = here.directory / "flat"
    flat.mkdir()
    package(flat, "further", {"/further": "x"})
    publish(flat, KEY)
    here.push()
    (tmp_path / "key.asc").write_text(KEY.armored)
    entry = {"uri": f"{here.address}/flat", "suite": "./", "key": "key.asc"}
    found = here.select(here.wanted("further", "hello", repositories_=(entry,)))
    assert _names(found) == ["further 1.0", "hello 1:2"]
    with debs.held(found, here.cache, here.log) as held:
        assert [path.name for path in held] == ["further_1.0_all.deb", "hello_1%3a2_all.deb"]
    for path in here.directory.rglob("*.deb"):
        path.unlink()
    with debs.held(found, here.cache, here.log) as held:
        assert len(held) == 2


@pytest.mark.parametrize(
    ("address", "name"),
    [
        ("http://deb.debian.org/debian/dists/bookworm", "deb.debian.org_debian_dists_bookworm"),
        ("http://127.0.0.1:80/a_b", "127.0.0.1:80_a%5fb"),
        ("https://user@h/~me", "h_%7eme"),
        ("copy:/srv/x", "_srv_x"),
        ("file:///srv/x", "_srv_x"),
    ],
)
def test_the_name_of_a_list_is_apts(address: str, name: str) -> None:
    assert apt_root.list_name(address) == name


def _counted(here: Archive) -> int:
    """Return how often apt updated its lists: it names each index that it has looked at."""
    return here.log.read_text().count("Reading package lists")


def test_a_second_recipe_of_an_archive_that_did_not_change_updates_no_lists(here: Archive) -> None:
    package(here.directory, "base", {"/base": "x"}, Essential="yes", Pre_Depends="libc")
    for name in ("libc", "tool", "other"):
        package(here.directory, name, {f"/{name}": "x"}, Depends="libc")
    here.push()
    here.select(here.wanted("tool", variant="full"))
    updated = _counted(here)
    second = here.select(here.wanted("other", variant="full"))
    assert here.updates == 2 and updated == _counted(here) == 1
    assert _names(second) == ["base 1.0", "libc 1.0", "other 1.0"]
    assert _names(here.select(here.wanted("tool"))) == ["tool 1.0"] and _counted(here) == 1
    # Another state of the archive has other answers.
    package(here.directory, "libc", {"/libc": "y"}, "1.1")
    here.push(NOW)
    assert _names(here.select(here.wanted("other", variant="full"))) == ["base 1.0", "libc 1.1", "other 1.0"]
    assert _counted(here) == 2


def test_lists_verified_with_other_keys_are_verified_again(
    here: Archive, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("hello", "other"):
        package(here.directory, name, {f"/{name}": "x"})
    here.push()
    here.select(here.wanted("hello"))
    (tmp_path / "others.gpg").write_bytes(Key().binary)
    monkeypatch.setattr(keyring, "foreign", lambda _origin: tmp_path / "others.gpg")
    with pytest.raises(HostError, match="not signed by a key"):
        here.select(here.wanted("other"))


def test_an_index_that_is_no_longer_valid_is_not_current(here: Archive) -> None:
    package(here.directory, "hello", {"/hello": "x"})
    here.push()
    wanted = here.wanted("hello")
    here.select(wanted)
    with apt_root.root(wanted, here.cache) as root:
        assert apt_root.is_current(wanted, root)
        (index,) = (root / "lists").glob("*_InRelease")
        text = index.read_text().replace("\nDate: ", "\nValid-Until: Sun, 01 Nov 2020 00:00:00 UTC\nDate: ", 1)
        index.write_text(text)
        digest = hashlib.sha256(text.encode()).hexdigest()
        late = replace(wanted, index=replace(wanted.index, digests=(digest,)))
        assert not apt_root.is_current(late, root)
        index.unlink()
        assert not apt_root.is_current(wanted, root)


def test_the_essential_packages_are_those_that_apt_takes_from_the_reduced_lists(here: Archive) -> None:
    package(here.directory, "base", {"/base": "x"}, Essential="yes", Pre_Depends="either | libc", Depends="late")
    package(here.directory, "need", {"/need": "x"}, Priority="required", Depends="tool")
    for name in ("libc", "late", "tool", "idle", "either"):
        package(here.directory, name, {f"/{name}": "x"})
    here.push()
    found = here.select(here.wanted("tool", variant="full"))
    assert [one.name for one in found.selection.essential] == ["base", "either", "late"]
    locked = replace(found.selection, lists=None, essential=())
    shutil.rmtree(here.cache.root / "lists")
    assert here.select(here.wanted("tool", variant="full"), locked).selection.essential == found.selection.essential


def test_a_state_of_apt_that_was_left_does_not_count(here: Archive) -> None:
    package(here.directory, "base", {"/base": "x"}, Essential="yes")
    package(here.directory, "tool", {"/tool": "x"})
    here.push()
    wanted = here.wanted("tool", variant="full")
    with apt_root.root(wanted, here.cache) as root:
        (root / "status").write_text(
            "Package: base\nStatus: install ok installed\nVersion: 1.0\nArchitecture: all\nEssential: yes\n\n"
        )
    assert _names(here.select(wanted)) == ["base 1.0", "tool 1.0"]
