"""The gate: an image that passed comes through, and the ways around it do not."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from roost.boot import attestation
from roost.boot import run as machines
from roost.customize import inputs
from roost.errors import ImageError, RoostError
from roost.events import Silent
from roost.pipeline import boot as booting
from roost.pipeline import build as building
from roost.pipeline import publish
from roost.publish import gate, release, sbom, verify
from roost.publish.targets.directory import Directory
from roost.publish.targets.kinds import open_target
from roost.publish.upload import walk
from roost.recipe.loader import Loaded
from roost.store import staging
from tests.publish import cellar, lab


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of its own, with an account of its own."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return lab.project(tmp_path)


def test_what_passed_comes_through(root: Path) -> None:
    """The control: nothing below is refused for want of something in the made-up directory."""
    directory = lab.ready(root)
    passed = gate.examine(lab.load(root), directory)
    assert [(one.hypervisor, one.verdict, one.accelerator) for one in passed.tested] == [("kvm", "passed", "tcg")]
    assert not passed.untested


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))


def _disk_changed(directory: Path) -> None:
    with (directory / "root.qcow2").open("ab") as file:
        file.write(b"more")


def _disk_changed_with_its_times_put_back(directory: Path) -> None:
    status = (directory / "root.qcow2").stat()
    _flip(directory / "root.qcow2")
    os.utime(directory / "root.qcow2", ns=(status.st_atime_ns, status.st_mtime_ns))


def _disk_and_manifest_changed(directory: Path) -> None:
    _flip(directory / "io.raw")
    lab.rewrite_manifest(directory, io_raw=hashlib.sha256((directory / "io.raw").read_bytes()).hexdigest())


def _disk_manifest_and_verdict_changed(directory: Path) -> None:
    _disk_and_manifest_changed(directory)
    (directory / "boot/kvm.json").write_text(json.dumps(lab.verdict(directory), indent=1))


def _other_digests_sealed(directory: Path) -> None:
    disks = [{"name": "root.qcow2", "sha256": "0" * 64}, {"name": "io.raw", "sha256": "0" * 64}]
    lab.booted(directory, disks=disks)


def _disk_left_out_of_the_boot(directory: Path) -> None:
    lab.booted(directory, disks=lab.verdict(directory)["disks"][:1])


def _disk_replaced_by_a_link(directory: Path) -> None:
    (directory / "io.raw").rename(directory.parent / "elsewhere.raw")
    (directory / "io.raw").symlink_to(directory.parent / "elsewhere.raw")


def _description_changed(directory: Path) -> None:
    path = directory / "kvm.sub"
    path.write_text(path.read_text().replace("vm_memory      = 256", "vm_memory      = 128"))


def _description_gone(directory: Path) -> None:
    (directory / "kvm.sub").unlink()


def _description_changed_and_sealed_again(directory: Path) -> None:
    _description_changed(directory)
    lab.booted(directory)


def _not_booted(directory: Path) -> None:
    (directory / "boot/kvm.json").unlink()


def _failed(directory: Path) -> None:
    lab.booted(directory, passed=False, cause="panic", phase="kernel")


def _failed_and_edited(directory: Path) -> None:
    _failed(directory)
    path = directory / "boot/kvm.json"
    path.write_text(path.read_text().replace('"passed": false', '"passed": true').replace('"panic"', "null"))


def _other_test(directory: Path) -> None:
    lab.booted(directory, test="0" * 64)


def _seal_gone(directory: Path) -> None:
    attestation.seal_path(directory, "kvm").unlink()


def _seal_made_up(directory: Path) -> None:
    path = attestation.seal_path(directory, "kvm")
    (directory / "boot/report.html").write_text("better")
    data = json.loads(path.read_text())
    data["files"]["boot/report.html"] = hashlib.sha256(b"better").hexdigest()
    path.write_text(json.dumps(data))


def _sealed_by_another_account(directory: Path) -> None:
    key = Path(os.environ["ROOST_STATE"]) / attestation.KEY
    key.write_bytes(bytes(32))


def _verdict_of_another_build(directory: Path) -> None:
    kept = {path: path.read_bytes() for path in (directory / "boot").rglob("*") if path.is_file()}
    lab.built(directory.parents[1], 1)
    for path, data in kept.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)


def _recipe_changed(directory: Path) -> None:
    recipe = directory.parents[1] / "recipes/smoke.yaml"
    recipe.write_text(recipe.read_text().replace("memory: 256MiB", "memory: 512MiB"))


def _file_of_the_recipe_changed(directory: Path) -> None:
    with (directory.parents[1] / "recipes/files/run").open("a") as file:
        file.write("# changed\n")


def _recipe_key_edited(directory: Path) -> None:
    _recipe_changed(directory)
    path = directory / "manifest.json"
    data = json.loads(path.read_text())
    loaded = lab.load(directory.parents[1])
    data["keys"]["recipe"] = inputs.recipe_key(loaded.recipe, loaded.directory)
    path.write_text(json.dumps(data, indent=2) + "\n")


def _clock_back(directory: Path) -> None:
    lab.booted(directory, finished="2031-01-01T00:00:00Z")


def _passed_in_spite_of_an_expectation(directory: Path) -> None:
    lab.booted(directory, expectations=[{"what": "a", "met": True}, {"what": "b", "met": False}])


def _fewer_expectations(directory: Path) -> None:
    lab.booted(directory, expectations=[])


def _unclean_and_passed(directory: Path) -> None:
    lab.booted(directory, filesystems=[{"disk": "root.qcow2", "clean": False}])


def _verdict_of_xen(directory: Path) -> None:
    lab.booted(directory, hypervisor="xen")


def _report_changed(directory: Path) -> None:
    (directory / "boot/report.html").write_text("all is well")


def _manifest_gone(directory: Path) -> None:
    (directory / "manifest.json").unlink()


def _manifest_names_a_file_outside(directory: Path) -> None:
    path = directory / "manifest.json"
    path.write_text(path.read_text().replace('"io.raw"', '"../../recipes/smoke.yaml"'))


def _bill_changed(directory: Path) -> None:
    """The bill of materials is not a disk, and yet it is published as the build's."""
    lab.built(directory.parents[1], facts=lab.DEFAULT)
    lab.booted(directory)
    path = directory / sbom.NAME
    path.write_text(path.read_text().replace("1:1.36", "1:1.37"))


def _bill_gone(directory: Path) -> None:
    lab.built(directory.parents[1], facts=lab.DEFAULT)
    lab.booted(directory)
    (directory / sbom.NAME).unlink()


def _bill_added(directory: Path) -> None:
    (directory / sbom.NAME).write_text("{}")


def _recipe(directory: Path, old: str, new: str) -> None:
    """Change the recipe before the build, which then is of it."""
    recipe = directory.parents[1] / "recipes/smoke.yaml"
    assert old in recipe.read_text()
    recipe.write_text(recipe.read_text().replace(old, new))
    lab.built(directory.parents[1])


def _eviction_left_out(directory: Path) -> None:
    """As `inv boot --no-evict` does, though the recipe insists."""
    _recipe(directory, "evict: false", "evict: true")
    lab.booted(directory, eviction={"tried": False, "obeyed": None, "seconds": None, "seen": "not asked for"})


def _eviction_ignored(directory: Path) -> None:
    _recipe(directory, "evict: false", "evict: true")
    lab.booted(directory, eviction={"tried": True, "obeyed": False, "seconds": 9.0, "seen": "it did not power off"})


def _older_verdict_without_eviction(directory: Path) -> None:
    _recipe(directory, "evict: false", "evict: true")
    said = {key: value for key, value in lab.verdict(directory).items() if key != "eviction"}
    lab.booted(directory)
    (directory / "boot/kvm.json").write_text(json.dumps(said))
    attestation.write(directory, "kvm")


def _verdict_of_another_roost(directory: Path) -> None:
    """Sealed by this account, but when its boot code was another."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(attestation, "code", lambda: "0" * 64)
        attestation.write(directory, "kvm")


def _seal_without_code(directory: Path) -> None:
    path = attestation.seal_path(directory, "kvm")
    data = json.loads(path.read_text())
    del data["code"], data["hmac"]
    path.write_text(json.dumps(attestation.sealed(data)))


def _key_that_others_can_read(directory: Path) -> None:
    (Path(os.environ["ROOST_STATE"]) / attestation.KEY).chmod(0o644)


def _report_added(directory: Path) -> None:
    """Evidence that no boot wrote is not there after the seal: it is not published either, see below."""
    (directory / "xen.sub").write_text("universe = vm\n")


def _disk_that_is_a_pipe(directory: Path) -> None:
    (directory / "io.raw").unlink()
    os.mkfifo(directory / "io.raw")


def _built_with_set(directory: Path) -> None:
    """As `inv build --set machine.memory=512MiB` leaves it: another recipe than the one that is published."""
    recipe = directory.parents[1] / "recipes/smoke.yaml"
    kept = recipe.read_text()
    _recipe(directory, "memory: 256MiB", "memory: 512MiB")
    lab.booted(directory)
    recipe.write_text(kept)


def _recipe_renamed(directory: Path) -> None:
    recipe = directory.parents[1] / "recipes/smoke.yaml"
    recipe.write_text(recipe.read_text().replace("name: smoke", "name: smokes"))


def _boot_of_the_other_image(directory: Path) -> None:
    """A verdict and its seal, both good, of an image that was built from another recipe by the same account."""
    root = directory.parents[1]
    text = (root / "recipes/smoke.yaml").read_text()
    (root / "recipes/other.yaml").write_text(text.replace("name: smoke", "name: other"))
    other = lab.built(root, 5, name="other")
    lab.booted(other)
    shutil.rmtree(directory / "boot")
    shutil.copytree(other / "boot", directory / "boot")


def _disk_gone(directory: Path) -> None:
    (directory / "io.raw").unlink()


def _base_left_out_of_the_boot(directory: Path) -> None:
    """The overlay was booted, on a base that nobody summed."""
    base = cellar.base(directory.parents[1] / "work")
    cellar.overlay(directory.parents[1], base, 1, booted=False)
    lab.booted(directory, bases=[])


def _another_base(directory: Path) -> None:
    base = cellar.base(directory.parents[1] / "work")
    cellar.overlay(directory.parents[1], base, 1, booted=False)
    lab.booted(directory, bases=[{"name": "base.qcow2", "sha256": "0" * 64}])


WAYS: list[tuple[Callable[[Path], None], str]] = [
    (_disk_changed, "root.qcow2 changed since the build"),
    (_disk_changed_with_its_times_put_back, "root.qcow2 changed since the build"),
    (_disk_and_manifest_changed, "manifest.json was changed after the boot"),
    (_disk_manifest_and_verdict_changed, "was changed after the boot"),
    (_other_digests_sealed, "is not the file that was booted"),
    (_disk_left_out_of_the_boot, "io.raw was not part of the boot"),
    (_disk_gone, "io.raw is missing"),
    (_disk_replaced_by_a_link, "io.raw is not a plain file"),
    (_description_changed, "kvm.sub is not the description of this image"),
    (_description_gone, "kvm.sub is missing"),
    (_description_changed_and_sealed_again, "kvm.sub is not the description of this image"),
    (_not_booted, "it was not booted"),
    (_failed, "the test boot failed: panic"),
    (_other_test, "changed after the boot"),
    (_failed_and_edited, "boot/kvm.json was changed after the boot"),
    (_seal_gone, "was not written by a boot of this account"),
    (_seal_made_up, "was changed, or written by another account"),
    (_sealed_by_another_account, "was changed, or written by another account"),
    (_verdict_of_another_build, "was changed after the boot"),
    (_recipe_changed, "the recipe changed since the build"),
    (_file_of_the_recipe_changed, "the recipe changed since the build"),
    (_recipe_key_edited, ""),
    (_clock_back, "was the clock set back"),
    (_passed_in_spite_of_an_expectation, "contradicts itself"),
    (_fewer_expectations, "did not try all that the recipe expects"),
    (_unclean_and_passed, "contradicts itself"),
    (_verdict_of_xen, "is for xen"),
    (_report_changed, "boot/report.html was changed after the boot"),
    (_manifest_gone, "is not built"),
    (_manifest_names_a_file_outside, "is not a plain file of the build directory"),
    (_bill_changed, "sbom.cdx.json changed since the build"),
    (_bill_gone, "sbom.cdx.json is missing"),
    (_bill_added, "sbom.cdx.json does not belong to this build"),
    (_eviction_left_out, "did not try eviction"),
    (_eviction_ignored, "did not try eviction"),
    (_older_verdict_without_eviction, "not written by this version of roost"),
    (_verdict_of_another_roost, "another version of roost"),
    (_seal_without_code, "another version of roost"),
    (_key_that_others_can_read, "can be read by others"),
    (_report_added, "xen.sub does not belong to the image that was booted"),
    (_disk_that_is_a_pipe, "io.raw is not a plain file"),
    (_built_with_set, "the recipe changed since the build"),
    (_recipe_renamed, "the build belongs to smoke"),
    (_boot_of_the_other_image, "was changed after the boot"),
    (_base_left_out_of_the_boot, "base.qcow2 was not part of the boot"),
    (_another_base, "base.qcow2 is not the file that was booted"),
]


@pytest.mark.parametrize(("way", "reason"), WAYS, ids=lambda value: getattr(value, "__name__", "")[1:])
def test_a_way_around_the_gate_is_refused(root: Path, way: Callable[[Path], None], reason: str) -> None:
    directory = lab.ready(root)
    way(directory)
    with pytest.raises(ImageError) as refused:
        gate.examine(lab.load(root), directory)
    assert not (root / "catalogue").exists()
    assert reason in str(refused.value)


def test_an_overlay_whose_base_was_booted_comes_through(root: Path) -> None:
    directory = cellar.overlay(root, cellar.base(root / "work"), 1)
    assert not gate.examine(lab.load(root), directory).untested


def test_what_is_published_are_the_bytes_that_were_examined(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Verdict, report, console and bill of materials change after the gate looked: the old bytes go on, or nothing."""
    lab.built(root, facts=lab.DEFAULT)
    directory = root / "build/smoke"
    lab.booted(directory)
    before = {one: (directory / one).read_bytes() for one in ("boot/report.html", "boot/kvm/serial.log", sbom.NAME)}
    real = release.draft

    def changed(*args: Any, **options: Any) -> release.Draft:
        for one in (*before, "boot/kvm.json", "kvm.sub", "manifest.json"):
            (directory / one).write_text('{"passed": true, "disks": [], "name": "liar"}')
        return real(*args, **options)

    monkeypatch.setattr(release, "draft", changed)
    done = lab.publish(root, str(root / "catalogue"))
    version = root / "catalogue" / done.release.directory
    for one, data in before.items():
        assert (version / one).read_bytes() == data
    assert "liar" not in "".join(path.read_text("utf-8", "replace") for path in version.rglob("*") if path.is_file())
    assert verify.verify(str(root / "catalogue"))["ok"]


def test_evidence_that_no_boot_sealed_is_not_published(root: Path) -> None:
    directory = lab.built(root)
    lab.booted(directory)
    (directory / "boot/report.html").unlink()
    attestation.write(directory, "kvm")
    (directory / "boot/report.html").write_text("all is well")
    (directory / "boot/kvm/screen.html").write_text("all is well")
    done = lab.publish(root, str(root / "catalogue"))
    assert "boot/report.html" not in {file.name for file in done.release.files}


def test_a_verdict_of_another_roost_is_reached_anew(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    directory = lab.ready(root)
    assert not attestation.missing(directory, "kvm")
    _verdict_of_another_roost(directory)
    assert attestation.missing(directory, "kvm")
    booted: list[str] = []
    monkeypatch.setattr(building, "image", lambda *_, **__: None)

    def boot(loaded: Loaded, **_: object) -> None:
        booted.append(loaded.recipe.name)
        lab.booted(directory)

    monkeypatch.setattr(booting, "image", boot)
    publish.publish(lab.NAME, to=str(root / "catalogue"), events=Silent())
    assert booted == ["smoke"]
    publish.publish(lab.NAME, to=str(root / "catalogue"), events=Silent())
    assert booted == ["smoke"]


def test_a_boot_of_what_was_built_anew_meanwhile_leaves_no_verdict(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between reading the image and holding its lock another build may have ended."""
    directory = lab.built(root)
    real = staging.lock

    @contextmanager
    def late(*args: Any) -> Iterator[None]:
        lab.built(root, 1)
        with real(*args):
            yield

    monkeypatch.setattr(staging, "lock", late)
    monkeypatch.setattr(machines, "boot", lambda *_: pytest.fail("booted"))
    with pytest.raises(ImageError, match="rebuilt meanwhile"):
        booting.boot("smoke", events=Silent())
    assert not (directory / "boot").exists()


CHANGED = (_disk_changed_with_its_times_put_back, _description_changed, _failed_and_edited, _recipe_changed, _seal_gone)


@pytest.mark.parametrize("way", CHANGED)
def test_allow_untested_lets_nothing_through_that_was_changed(root: Path, way: Callable[[Path], None]) -> None:
    directory = lab.ready(root)
    way(directory)
    with pytest.raises(ImageError):
        gate.examine(lab.load(root), directory, allow_untested=True)


def test_the_step_that_is_missing_is_named_as_the_image_was(root: Path, tmp_path: Path) -> None:
    directory = lab.ready(root)
    found = replace(lab.load(root), called="/srv/my recipes/other.yaml")
    with pytest.raises(ImageError) as caught:
        gate.examine(found, directory, require_kvm=True)
    assert caught.value.problem.hint == "inv boot '/srv/my recipes/other.yaml' --require-kvm"
    _seal_gone(directory)
    with pytest.raises(ImageError) as caught:
        gate.examine(found, directory)
    assert caught.value.problem.hint == "inv boot '/srv/my recipes/other.yaml'"
    shutil.rmtree(directory / "boot")
    with pytest.raises(ImageError) as caught:
        gate.examine(found, directory)
    assert str(caught.value.problem.hint).startswith("inv boot '/srv/my recipes/other.yaml' --hypervisor kvm; ")


def test_another_accelerator_than_required_is_refused(root: Path) -> None:
    directory = lab.ready(root)
    with pytest.raises(ImageError, match="it was booted under tcg, not under KVM"):
        gate.examine(lab.load(root), directory, require_kvm=True)
    path = directory / "boot/kvm.json"
    path.write_text(path.read_text().replace('"tcg"', '"kvm"'))
    with pytest.raises(ImageError, match="was changed after the boot"):
        gate.examine(lab.load(root), directory, require_kvm=True)
    lab.booted(directory, accelerator="kvm")
    assert gate.examine(lab.load(root), directory, require_kvm=True).tested[0].accelerator == "kvm"


def test_require_kvm_holds_with_allow_untested_too(root: Path) -> None:
    directory = lab.built(root)
    with pytest.raises(ImageError, match="not booted, not under KVM"):
        gate.examine(lab.load(root), directory, require_kvm=True, allow_untested=True)


def test_a_clock_of_the_day_before_the_boot_is_refused(root: Path) -> None:
    directory = lab.ready(root)
    with pytest.raises(ImageError, match="was the clock set back"):
        gate.examine(lab.load(root), directory, now=datetime(2026, 11, 22, tzinfo=UTC))


@pytest.mark.parametrize("failed", [False, True])
def test_allow_untested_says_so(root: Path, failed: bool) -> None:
    directory = lab.built(root)
    if failed:
        lab.booted(directory, passed=False, cause="no-root", phase="initrd")
    passed = gate.examine(lab.load(root), directory, allow_untested=True)
    assert passed.untested
    assert passed.tested[0].verdict == "untested"
    assert (passed.tested[0].cause or "").startswith("the test boot failed: no-root" if failed else "it was not booted")


def test_a_file_that_changes_while_it_is_sent_is_not_listed(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The gate has looked, and only then somebody writes to the disk."""
    directory = lab.ready(root)
    real = release.draft

    def changed(*args: Any, **options: Any) -> release.Draft:
        made = real(*args, **options)
        _flip(directory / "io.raw")
        return made

    monkeypatch.setattr(release, "draft", changed)
    with pytest.raises(ImageError, match=r"io\.raw changed after it was examined"):
        lab.publish(root, str(root / "catalogue"))
    assert not list((root / "catalogue").rglob("release.json"))
    assert not list((root / "catalogue").rglob("io.raw"))


@pytest.mark.parametrize("place", ["directory", "memory"])
def test_a_base_that_changes_while_it_is_sent_never_gets_its_name(
    root: Path, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    """Others share it: bytes that are not its own must not be there for a moment."""
    url = str(root / "catalogue") if place == "directory" else f"memory://{root.name}"
    base = cellar.base(root / "work")
    directory = cellar.overlay(root, base, 1)
    real = release.draft

    def changed(*args: Any, **options: Any) -> release.Draft:
        made = real(*args, **options)
        _flip(directory / "base.qcow2")
        return made

    monkeypatch.setattr(release, "draft", changed)
    with pytest.raises(ImageError, match=r"base\.qcow2 changed after it was examined"):
        lab.publish(root, url)
    target = open_target(url)
    assert not [path for path in walk(target, "") if "base.qcow2" in path]


def test_a_place_that_does_not_keep_what_it_is_given_is_found_out(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.ready(root)
    real = Directory.put

    def losing(self: Directory, path: str, *args: Any) -> None:
        real(self, path, *args)
        if path.endswith("io.raw"):
            _flip(root / "catalogue" / path)

    monkeypatch.setattr(Directory, "put", losing)
    with pytest.raises(ImageError, match="differs from what was sent"):
        lab.publish(root, str(root / "catalogue"))
    assert not list((root / "catalogue").rglob("release.json"))


def test_publish_refuses_a_changed_disk_before_it_would_be_built_away(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = lab.ready(root)
    _disk_changed(directory)
    monkeypatch.setattr(building, "image", lambda *_, **__: pytest.fail("built"))
    with pytest.raises(RoostError, match=r"root\.qcow2 changed since the build"):
        publish.publish(lab.NAME, to=str(root / "catalogue"), events=Silent())
