"""`inv gc URL`: what goes and what stays, what is never touched, and bases that several versions share."""

from __future__ import annotations

import multiprocessing
import os
import shutil
from pathlib import Path
from typing import Any

import pytest

from roost.errors import UsageError
from roost.events import Silent
from roost.publish import claim, inventory, layout, upload, verify
from roost.publish import gc as collection
from roost.publish.retention import Rules
from roost.publish.targets.kinds import open_target
from roost.publish.targets.target import Target
from roost.store.gc_report import Report
from tests.publish import cellar, lab


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of its own, with an account of its own."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "SIZES", cellar.SMALL)
    return lab.project(tmp_path)


def _collect(url: Path | str, delete: bool = True, **options: Any) -> Report:
    take_over = bool(options.pop("take_over", False))
    now = options.pop("now", None)
    return collection.collect(str(url), Rules(**options), Silent(), delete=delete, take_over=take_over, now=now)


def _listed(catalogue: Path, name: str = "smoke") -> list[str]:
    result = verify.verify(str(catalogue))
    assert not result["problems"], result["problems"]
    return sorted(image["version"] for image in result["images"] if image["name"] == name)


def _tree(directory: Path) -> dict[str, bytes]:
    return {str(path.relative_to(directory)): path.read_bytes() for path in directory.rglob("*") if path.is_file()}


def test_the_newest_stay_and_a_dry_run_touches_nothing(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 5)
    before = _tree(catalogue)
    said = _collect(catalogue, delete=False, keep=2)
    assert [item.what for item in said.items] == ["smoke/v02", "smoke/v01", "smoke/v00"]
    assert {item.state for item in said.items} == {"would go"}
    assert said.items[0].why == "2 newer that passed"
    directory = sum(path.stat().st_size for path in (catalogue / "smoke/v02").rglob("*") if path.is_file())
    assert 0.9 * directory < said.items[0].bytes <= directory
    assert _tree(catalogue) == before
    done = _collect(catalogue, keep=2)
    assert [(item.what, item.bytes) for item in done.items] == [(item.what, item.bytes) for item in said.items]
    assert {item.state for item in done.items} == {"gone"}
    assert _listed(catalogue) == ["v03", "v04"]
    rest = {str(path.relative_to(catalogue)) for path in catalogue.rglob("*")}
    assert not [path for path in rest if "v00" in path or "v01" in path or "v02" in path]
    assert {path: data for path, data in before.items() if path in _tree(catalogue)} == _tree(catalogue)
    assert not _collect(catalogue, keep=2).items


def test_the_latest_and_the_named_always_stay(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 4)
    old = catalogue / "smoke/v00/release.json"
    latest = {"name": "smoke", "version": "v00", "release_sha256": layout.sha256(old.read_bytes())}
    (catalogue / "smoke/latest.json").write_bytes(layout.json_bytes(latest))
    done = _collect(catalogue, keep=1, named=(("smoke", "v01"),))
    assert {one["what"]: one["why"] for one in done.kept} == {
        "smoke@v03": "the newest",
        "smoke@v01": "named by --keep",
        "smoke@v00": "the latest",
    }
    assert _listed(catalogue) == ["v00", "v01", "v03"]
    with pytest.raises(UsageError, match="no such version") as refused:
        _collect(catalogue, keep=1, named=(("smoke", "v11"),))
    assert "did you mean smoke@v01?" in str(refused.value)


def test_untested_versions_push_out_none_that_passed(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 3)
    cellar.versions(root, str(catalogue), 3, first=10, untested=True)
    _collect(catalogue, keep=2)
    assert _listed(catalogue) == ["u11", "u12", "v01", "v02"]
    _collect(catalogue, keep=1)
    assert _listed(catalogue) == ["u12", "v02"]


def test_by_age(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 4)
    # v03 is of 2026-11-01T03:00:00Z.
    now = 1_793_502_000.0 + 86_400
    assert [item.what for item in _collect(catalogue, delete=False, age=86_400 + 5_000, now=now).items] == [
        "smoke/v01",
        "smoke/v00",
    ]
    assert not _collect(catalogue, delete=False, age=10 * 86_400, now=now).items
    assert [item.what for item in _collect(catalogue, delete=False, age=0, keep=3, now=now).items] == ["smoke/v00"]
    _collect(catalogue, age=0, now=now)
    assert _listed(catalogue) == ["v03"]


def test_without_a_number_or_an_age_no_version_goes(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 3)
    assert not _collect(catalogue).items
    assert _listed(catalogue) == ["v00", "v01", "v02"]


def test_one_image_of_a_catalogue(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 3)
    text = (root / "recipes/smoke.yaml").read_text()
    (root / "recipes/other.yaml").write_text(text.replace("name: smoke", "name: other"))
    for number in range(3):
        lab.built(root, number, name="other")
        lab.booted(root / "build/other", finished=f"2026-11-02T0{number}:00:00Z")
        lab.publish(root, str(catalogue), name="other", version=f"o{number}")
    _collect(catalogue / "other", keep=1)
    assert _listed(catalogue, "other") == ["o2"]
    assert _listed(catalogue) == ["v00", "v01", "v02"]
    with pytest.raises(UsageError, match="one version"):
        _collect(catalogue / "smoke/v00", keep=1)


def test_what_is_not_roosts_is_never_touched(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 3)
    outside = root / "outside"
    (outside / "boot").mkdir(parents=True)
    (outside / "kvm.json").write_text("mine")
    strange = [
        "smoke/v00/notes.txt",
        "smoke/v00/more/deep.txt",
        "smoke/notes/todo.txt",
        "smoke/ ",
        "web/index.html",
        "web/versions/smoke.html",
        "README",
        "_base/README",
        f"_base/{'a' * 64}/mine.qcow2",
        "_base/short/base.qcow2",
        "..hidden",
        "-rf/x",
        ".part-mine",
    ]
    for name in strange:
        (catalogue / name).parent.mkdir(parents=True, exist_ok=True)
        (catalogue / name).write_text("mine")
    # v01's evidence is elsewhere, by a link: what it leads to is not the catalogue's.
    shutil.rmtree(catalogue / "smoke/v01/boot")
    shutil.copytree(catalogue / "smoke/v02/boot", outside / "boot", dirs_exist_ok=True)
    (catalogue / "smoke/v01/boot").symlink_to(outside / "boot")
    (catalogue / "smoke/alias").symlink_to("v02")
    done = _collect(catalogue, keep=1)
    assert {item.what: item.state for item in done.items} == {"smoke/v00": "gone", "smoke/v01": "stays"}
    for name in strange:
        assert (catalogue / name).read_text() == "mine", name
    assert len(_tree(outside)) == 4
    assert (catalogue / "smoke/v01/release.json").exists()
    assert (catalogue / "smoke/alias").is_symlink()
    assert not (catalogue / "smoke/v00/release.json").exists()
    notes = "\n".join(done.notes)
    assert "smoke/v00/more/" in notes
    assert "alias is kept" in notes


def test_a_version_that_is_not_as_signed_stays_and_so_do_all_bases(root: Path) -> None:
    catalogue = root / "catalogue"
    base = cellar.base(root / "work")
    cellar.overlay(root, base, 1)
    lab.publish(root, str(catalogue), version="on-base")
    cellar.versions(root, str(catalogue), 2, first=70)
    path = catalogue / "smoke/on-base/release.json"
    path.write_text(path.read_text().replace("busybox", "busybux"))
    done = _collect(catalogue, keep=1)
    assert [item.what for item in done.items] == ["smoke/v70"]
    assert path.exists()
    assert (catalogue / "_base" / cellar.sha(base) / "base.qcow2").exists()
    assert any("on-base is kept" in note for note in done.notes)


def test_a_base_is_removed_with_the_last_version_that_uses_it(root: Path) -> None:
    catalogue = root / "catalogue"
    first, second = cellar.base(root / "one", 7), cellar.base(root / "two", 8)
    for number, base in enumerate((first, first, second)):
        cellar.overlay(root, base, number + 1)
        lab.publish(root, str(catalogue), version=f"v{number}")
    at = {base: catalogue / "_base" / cellar.sha(base) / "base.qcow2" for base in (first, second)}
    said = _collect(catalogue, delete=False, keep=2)
    assert [item.what for item in said.items] == ["smoke/v0"]
    _collect(catalogue, keep=2)
    assert all(path.exists() for path in at.values())
    said = _collect(catalogue, delete=False, keep=1)
    assert [item.what for item in said.items] == ["smoke/v1", f"_base/{cellar.sha(first)}/base.qcow2"]
    assert said.items[1].bytes == first.stat().st_size
    _collect(catalogue, keep=1)
    assert not at[first].parent.exists()
    assert at[second].exists()
    assert _listed(catalogue) == ["v2"]


def _overlaid(root: Path, catalogue: Path) -> Path:
    """Publish v0, an overlay; return its base."""
    base = cellar.base(root / "work")
    cellar.overlay(root, base, 1)
    lab.publish(root, str(catalogue), version="v0")
    return base


def test_a_collection_ends_what_others_left_that_were_killed_while_they_took_over(root: Path) -> None:
    """One was killed while it removed, the next when it had just put itself in the place of that, or had not yet."""
    catalogue = root / "catalogue"
    base = _overlaid(root, catalogue)
    cellar.versions(root, str(catalogue), 1, first=70)
    target = open_target(str(catalogue))
    files = [f"smoke/v0/{name}" for name in target.names("smoke/v0")]
    shared = [f"_base/{cellar.sha(base)}/base.qcow2"]
    gone = {"pid": 2**22 + 1}
    for place, written in (("smoke/.publishing/v0", files), ("_base/.removing", shared)):
        killed = layout.json_bytes({**claim._own("", written), **gone})
        taker = layout.json_bytes({**claim._own("", []), **gone})
        target.create(f"{place}.json", killed)
        target.create(f"{place}.{layout.sha256(killed)[:16]}.taken", taker)
        # Of a take-over that was through but for this.
        target.create(f"{place}.0123456789abcdef.taken", taker)
    said = _collect(catalogue, keep=1)
    assert {item.state for item in said.items} == {"gone"}, said.to_json()
    assert _listed(catalogue) == ["v70"]
    rest = {path for path in _tree(catalogue) if not path.startswith("smoke/v70/")}
    assert rest == {"allowed_signers", "smoke/latest.json"}


def test_a_base_that_a_publication_under_way_may_use_stays(root: Path) -> None:
    catalogue = root / "catalogue"
    base = _overlaid(root, catalogue)
    cellar.versions(root, str(catalogue), 1, first=70)
    target = open_target(str(catalogue))
    path = f"_base/{cellar.sha(base)}/base.qcow2"
    with claim.held(target, "smoke", "next", "", claim.Wish(Silent(), files=[path])):
        assert "may use it" in _collect(catalogue, delete=False, keep=1).notes[-1]
        _collect(catalogue, keep=1)
        assert target.size(path)
    # A claim of a roost that did not yet say what it writes may be about any base.
    older = {key: value for key, value in claim._own("", []).items() if key != "files"}
    target.write("smoke/.publishing/older.json", layout.json_bytes({**older, "host": "elsewhere"}))
    _collect(catalogue, keep=1)
    assert target.size(path)
    target.remove("smoke/.publishing/older.json")
    _collect(catalogue, keep=1)
    assert target.size(path) is None


def test_a_publisher_waits_for_a_base_that_is_being_removed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = root / "catalogue"
    base = cellar.base(root / "work")
    cellar.overlay(root, base, 1)
    target = open_target(str(catalogue))
    path = f"_base/{cellar.sha(base)}/base.qcow2"
    told: list[str] = []

    class Told(Silent):
        def note(self, text: str) -> None:
            told.append(text)

    monkeypatch.setattr(claim, "INTERVAL", 0.01)
    monkeypatch.setattr(claim, "PATIENCE", 0.1)
    with claim.removing(target, claim.Wish(Silent(), [path])):
        with pytest.raises(claim.TakenError, match="still being removed"):
            claim.await_removal(target, path, Told())
        claim.await_removal(target, "_base/another", Told())
    assert told == [f"{path} is being removed by inv gc: waiting"]
    claim.await_removal(target, path, Told())
    # One that was killed is not waited for.
    said = claim._own("", [path])
    target.write("_base/.removing.json", layout.json_bytes({**said, "pid": 2**22 + 1}))
    lab.publish(root, str(catalogue), version="v0")
    assert _listed(catalogue) == ["v0"]
    _collect(catalogue, delete=False)
    assert target.read("_base/.removing.json")
    _collect(catalogue)
    assert target.read("_base/.removing.json") is None
    target.write("_base/.removing.json", layout.json_bytes({**said, "pid": 2**22 + 1}))
    cellar.overlay(root, cellar.base(root / "two", 8), 2)
    lab.publish(root, str(catalogue), version="v1")
    _collect(catalogue, keep=1)
    assert target.read("_base/.removing.json") is None
    assert target.size(path) is None
    assert _listed(catalogue) == ["v1"]


def test_a_publisher_that_ends_well_while_the_collection_looks_is_not_taken_for_killed(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its claim was read, then what is listed; then it listed its version and was gone."""
    catalogue = root / "catalogue"
    base = _overlaid(root, catalogue)
    cellar.overlay(root, cellar.base(root / "two", 8), 2)
    lab.publish(root, str(catalogue), version="v1")
    cellar.overlay(root, base, 3)
    target = open_target(str(catalogue))
    path = f"_base/{cellar.sha(base)}/base.qcow2"
    # A process of its own, as a publisher is: it must not be taken for killed when it has ended.
    fork = multiprocessing.get_context("fork")
    sent, listing = fork.Event(), fork.Event()
    allow, read = upload._allow, inventory.read

    def pausing(*args: Any) -> None:
        """All is sent, and no removal was on its way: the next is that the version is listed."""
        sent.set()
        assert listing.wait(60)
        allow(*args)

    def looks(target: Target) -> inventory.Inventory:
        stock = read(target)
        if publisher.is_alive() and target.read("_base/.removing.json"):
            assert target.read("smoke/.publishing/v2.json") is not None, "its claim was there to be read"
            listing.set()
            publisher.join(60)
            assert not publisher.is_alive()
        return stock

    monkeypatch.setattr(upload, "_allow", pausing)
    monkeypatch.setattr(inventory, "read", looks)
    publisher = fork.Process(target=lab.publish, args=(root, str(catalogue)), kwargs={"version": "v2"})
    publisher.start()
    try:
        assert sent.wait(60)
        _collect(catalogue, keep=1)
    finally:
        listing.set()
        publisher.join(60)
    assert target.size(path)
    assert "v2" in _listed(catalogue)


def test_what_a_failed_publication_left_goes_and_nothing_else(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 1)
    lab.ready(root, 5)

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("roost.publish.upload._allow", fail)
    with pytest.raises(KeyboardInterrupt):
        lab.publish(root, str(catalogue), version="half")
    monkeypatch.undo()
    assert (catalogue / "smoke/half/root.qcow2").exists()
    (catalogue / "smoke/half/notes.txt").write_text("mine")
    said = _collect(catalogue, delete=False)
    assert [(item.what, item.why) for item in said.items] == [
        ("smoke/half", "left by a publication that did not complete")
    ]
    assert said.items[0].bytes > 60_000
    _collect(catalogue)
    assert sorted(path.name for path in (catalogue / "smoke/half").rglob("*")) == ["notes.txt"]
    assert not (catalogue / "smoke/.publishing").exists()
    assert not _collect(catalogue).items


def test_a_claim_of_another_host_is_kept_unless_take_over_is_given(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 2)
    target = open_target(str(catalogue))
    said = claim._own("", ["smoke/half/root.qcow2"])
    target.write("smoke/.publishing/half.json", layout.json_bytes({**said, "host": "elsewhere 1 2"}))
    target.write("smoke/half/root.qcow2", b"half")
    done = _collect(catalogue, keep=1)
    assert [item.what for item in done.items] == ["smoke/v00"]
    assert any("being published on elsewhere" in note for note in done.notes)
    assert target.size("smoke/half/root.qcow2")
    done = _collect(catalogue, keep=1, take_over=True)
    assert [item.what for item in done.items] == ["smoke/half"]
    assert not (catalogue / "smoke/half").exists()


def test_a_version_that_is_being_published_again_stays(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 3)
    target = open_target(str(catalogue))
    with claim.held(target, "smoke", "v00", "", claim.Wish(Silent(), files=[])):
        done = _collect(catalogue, keep=1)
    assert {item.what: item.state for item in done.items} == {"smoke/v00": "stays", "smoke/v01": "gone"}
    assert _listed(catalogue) == ["v00", "v02"]


def test_old_partial_files_go_young_ones_stay(root: Path) -> None:
    catalogue = root / "catalogue"
    cellar.versions(root, str(catalogue), 1)
    old, young = catalogue / "smoke/.part-77-88-latest.json", catalogue / ".part-77-88-allowed_signers"
    for path in (old, young):
        path.write_text("half")
    os.utime(old, (0, 0))
    done = _collect(catalogue)
    assert [item.what for item in done.items] == ["smoke/.part-77-88-latest.json"]
    assert young.exists()
    assert not old.exists()


def test_something_that_is_not_a_catalogue_is_a_wrong_call(tmp_path: Path) -> None:
    (tmp_path / "home/thesis").mkdir(parents=True)
    (tmp_path / "home/thesis/a.tex").write_text("x")
    for place, why in (tmp_path / "home", "not a catalogue"), (tmp_path / "nowhere", "no such directory"):
        with pytest.raises(UsageError, match=why):
            _collect(place, keep=1)
    assert (tmp_path / "home/thesis/a.tex").exists()
