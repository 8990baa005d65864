"""A release in a catalogue: its files, its signature, its version, and what verify says of a single flipped bit."""

from __future__ import annotations

import json
import random
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from roost.catalogue import changes, read, site
from roost.cli import publish as publish_tasks
from roost.condor.lint import lint_file
from roost.errors import ImageError, RecipeError, RoostError, UsageError
from roost.events import Silent
from roost.host import checksum, process
from roost.pipeline import publish, recipes, released, submit
from roost.publish import gate, layout, signature, verify
from roost.publish.targets.directory import Directory
from roost.publish.targets.kinds import open_target
from roost.publish.targets.memory import Memory
from roost.publish.upload import walk
from roost.recipe import loader
from roost.recipe.quantities import format_size
from roost.store import manifest
from tests.publish import cellar, lab


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project of its own, with an account of its own."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(lab, "SIZES", {"root.qcow2": 40000, "io.raw": 20000})
    return lab.project(tmp_path)


@pytest.fixture
def catalogue(root: Path) -> Path:
    """Return a catalogue with one release in it."""
    lab.ready(root)
    lab.publish(root, str(root / "catalogue"))
    return root / "catalogue"


def _files(directory: Path) -> list[Path]:
    return sorted(path for path in directory.rglob("*") if path.is_file())


def _version(catalogue: Path) -> Path:
    (found,) = (catalogue / "smoke").glob("2*")
    return found


def test_a_release_is_complete_and_verifies(catalogue: Path) -> None:
    names = {str(path.relative_to(_version(catalogue))) for path in _files(_version(catalogue))}
    assert names == {
        "root.qcow2",
        "io.raw",
        "kvm.sub",
        "boot/kvm.json",
        "boot/kvm/serial.log",
        "boot/report.html",
        "manifest.json",
        "provenance.json",
        "SHA256SUMS",
        "SHA256SUMS.sig",
        "release.json",
    }
    assert {path.name for path in catalogue.iterdir()} == {"allowed_signers", "smoke"}
    said = json.loads((_version(catalogue) / "release.json").read_text())
    assert said["hypervisors"]["kvm"]["verdict"] == "passed"
    assert said["untested"] is False
    assert said["packages"] == [{"name": "busybox", "version": "1:1.36"}]
    for place in (catalogue, catalogue / "smoke", _version(catalogue)):
        result = verify.verify(str(place))
        assert result["ok"], result
        assert [image["version"] for image in result["images"]] == [_version(catalogue).name]


def test_the_stock_tools_verify_it(catalogue: Path) -> None:
    """README's commands, word for word, in a version's directory."""
    text = (lab.PROJECT / "README.md").read_text().partition("## Publish")[2].partition("\n## ")[0]
    block = next(part for part in text.split("\n\n") if part.startswith("    ssh-keygen"))
    commands = [line.strip() for line in block.splitlines()]
    assert [command.split()[0] for command in commands] == ["ssh-keygen", "sha256sum"]
    version = _version(catalogue)

    def codes() -> list[int]:
        runs = [subprocess.run(["sh", "-c", one], cwd=version, capture_output=True, check=False) for one in commands]
        return [run.returncode for run in runs]

    assert codes() == [0, 0]
    good = {name: (version / name).read_bytes() for name in ("SHA256SUMS", "root.qcow2")}
    (version / "root.qcow2").write_bytes(b"x" + good["root.qcow2"][1:])
    assert codes() == [0, 1]
    digest = checksum.sha256(version / "root.qcow2")
    lines = good["SHA256SUMS"].decode().splitlines(keepends=True)
    lines = [f"{digest}  root.qcow2\n" if line.endswith("  root.qcow2\n") else line for line in lines]
    (version / "SHA256SUMS").write_text("".join(lines))
    # The sums agree again, and are not what was signed.
    assert codes() == [255, 0]


@pytest.mark.parametrize("seed", range(2))
def test_verify_names_the_one_file_with_a_flipped_bit(catalogue: Path, seed: int) -> None:
    rng = random.Random(seed)
    for path in _files(catalogue):
        good = path.read_bytes()
        for _ in range(6):
            place, bit = rng.randrange(len(good)), rng.randrange(8)
            data = bytearray(good)
            data[place] ^= 1 << bit
            path.write_bytes(bytes(data))
            result = verify.verify(str(catalogue))
            assert not result["ok"], (path, place, bit)
            wrong = {problem["file"] for problem in result["problems"]}
            assert wrong == {str(path.relative_to(catalogue))}, (place, bit, result["problems"])
        path.write_bytes(good)
    assert verify.verify(str(catalogue))["ok"]


def _wrong(catalogue: Path) -> set[str]:
    return {problem["file"] for problem in verify.verify(str(catalogue))["problems"]}


@pytest.mark.parametrize("kept", [0.0, 0.5])
def test_verify_names_the_one_file_that_was_cut_short(catalogue: Path, kept: float) -> None:
    for path in _files(catalogue):
        good = path.read_bytes()
        path.write_bytes(good[: int(kept * len(good))])
        assert _wrong(catalogue) == {str(path.relative_to(catalogue))}
        path.write_bytes(good)
    assert not _wrong(catalogue)


def test_verify_names_the_one_file_that_is_missing(catalogue: Path) -> None:
    version = _version(catalogue)
    for path in _files(version):
        if path.name == "release.json":
            # Without it a version is not listed: see the next one.
            continue
        good = path.read_bytes()
        path.unlink()
        assert _wrong(catalogue) == {str(path.relative_to(catalogue))}
        path.write_bytes(good)
    (catalogue / "allowed_signers").unlink()
    assert "allowed_signers" in _wrong(catalogue)


def test_a_version_without_its_release_is_listed_no_more_and_latest_says_so(catalogue: Path) -> None:
    (_version(catalogue) / "release.json").unlink()
    with pytest.raises(UsageError):
        verify.verify(str(_version(catalogue)))
    result = verify.verify(str(catalogue))
    assert not result["ok"]


def _second(root: Path, catalogue: Path) -> Path:
    lab.built(root, 1)
    lab.booted(root / "build/smoke", finished="2026-11-23T19:00:00Z")
    return catalogue / lab.publish(root, str(catalogue)).release.directory


@pytest.mark.parametrize("name", ["SHA256SUMS.sig", "SHA256SUMS", "release.json", "boot/kvm.json", "io.raw", "kvm.sub"])
def test_verify_names_a_file_of_another_version_in_its_place(root: Path, catalogue: Path, name: str) -> None:
    first = _version(catalogue)
    second = _second(root, catalogue)
    if (first / name).read_bytes() == (second / name).read_bytes():
        pytest.fail(f"{name} is the same in both")
    shutil.copy(first / name, second / name)
    wrong = _wrong(catalogue)
    assert f"smoke/{second.name}/{name}" in wrong
    assert not [path for path in wrong if first.name in path and second.name not in path]


def test_all_of_an_older_version_in_the_place_of_a_newer_is_seen(root: Path, catalogue: Path) -> None:
    first = _version(catalogue)
    second = _second(root, catalogue)
    shutil.rmtree(second)
    shutil.copytree(first, second)
    wrong = _wrong(catalogue)
    assert f"smoke/{second.name}/release.json" in wrong
    # So it is under another image's name.
    shutil.rmtree(second)
    shutil.copytree(catalogue / "smoke", catalogue / "better")
    assert f"better/{first.name}/release.json" in _wrong(catalogue)


def test_an_older_latest_that_was_put_back_is_said(root: Path, catalogue: Path) -> None:
    """It was good once, so nothing is wrong with it: only beside the newer version it looks odd."""
    older = (catalogue / "smoke/latest.json").read_bytes()
    first = _version(catalogue)
    second = _second(root, catalogue)
    notes = [note for image in verify.verify(str(catalogue))["images"] for note in image["notes"]]
    assert not notes
    (catalogue / "smoke/latest.json").write_bytes(older)
    result = verify.verify(str(catalogue))
    assert result["ok"]
    (image,) = (one for one in result["images"] if one["version"] == first.name)
    assert image["notes"] == [f"latest.json names this version, and {second.name} is newer: was it reverted?"]
    # One that never was is wrong.
    (catalogue / "smoke/latest.json").write_bytes(older.replace(first.name.encode(), second.name.encode()))
    assert _wrong(catalogue) == {"smoke/latest.json"}


def test_verify_names_a_latest_that_is_missing_unless_it_is_about_to_be_written(catalogue: Path) -> None:
    (catalogue / "smoke/latest.json").unlink()
    assert _wrong(catalogue) == {"smoke/latest.json"}
    claims = catalogue / "smoke" / layout.CLAIMS
    claims.mkdir(exist_ok=True)
    # A publisher on another host, which may be alive.
    said = {"host": "another", "pid": 7, "started": "1", "files": []}
    (claims / "v2.json").write_text(json.dumps(said))
    assert not _wrong(catalogue)
    (claims / "v2.json").write_text(json.dumps({**said, "ended": True}))
    assert _wrong(catalogue) == {"smoke/latest.json"}


@pytest.mark.parametrize("whole_image", [False, True])
def test_a_directory_that_was_renamed_is_one_line(catalogue: Path, whole_image: bool) -> None:
    version = _version(catalogue)
    old = version.parent if whole_image else version
    new = old.rename(old.with_name("sim-x" if whole_image else "2026.11-x"))
    problems = verify.verify(str(catalogue))["problems"]
    place = (new / version.name if whole_image else new).relative_to(catalogue)
    assert [one["file"] for one in problems] == [f"{place}/release.json"]
    assert problems[0]["what"].startswith(f"belongs to {version.relative_to(catalogue)}: the directory was renamed")
    new.rename(old)
    assert verify.verify(str(catalogue))["ok"]


def test_verify_names_a_file_that_was_added(catalogue: Path) -> None:
    (_version(catalogue) / "more.raw").write_bytes(b"x")
    problems = verify.verify(str(catalogue))["problems"]
    assert [problem["file"] for problem in problems] == [f"smoke/{_version(catalogue).name}/more.raw"]


def test_a_release_signed_by_an_untrusted_key_is_wrong(root: Path, catalogue: Path) -> None:
    """Whoever can write into the catalogue can sign; a reader who has the right key sees it."""
    key = root / "key.pub"
    key.write_text((catalogue / "allowed_signers").read_text())
    assert verify.verify(str(catalogue), key=key)["ok"]
    shutil.rmtree(root / "config")
    shutil.rmtree(catalogue)
    lab.publish(root, str(catalogue))
    assert verify.verify(str(catalogue))["ok"]
    result = verify.verify(str(catalogue), key=key)
    assert {problem["file"].rpartition("/")[2] for problem in result["problems"]} == {"SHA256SUMS.sig"}
    said = publish_tasks._verified(result)
    assert "is signed by SHA256:" in said and "which is not a trusted key" in said
    assert "not signed" not in said


def test_each_fault_of_the_trusted_keys_is_reported_once(root: Path, catalogue: Path) -> None:
    _second(root, catalogue)
    (catalogue / "allowed_signers").write_bytes(b"")
    for _ in range(2):
        said = publish_tasks._verified(verify.verify(str(catalogue))).splitlines()
        wrong = [line for line in said if "allowed_signers" in line]
        assert len(wrong) == 1 and "trust" in "".join(said)
        assert not any("not signed" in line for line in said)
        (catalogue / "allowed_signers").unlink(missing_ok=True)
    assert wrong == ["WRONG: allowed_signers is missing: no key to verify with (--key FILE names one)"]


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"{}", "has no 'files'"),
        (b"[]", "has a value of an unexpected type"),
        (b"{", "is not JSON"),
        (b'{"files": [{}]}', "has no 'name'"),
        (None, "is missing, and smoke/latest.json names that version"),
    ],
)
def test_the_release_that_the_latest_names_is_at_fault(
    data: bytes | None, said: str, root: Path, catalogue: Path
) -> None:
    version = _version(catalogue)
    if data is None:
        version.rename(version.with_name("moved"))
    else:
        (version / "release.json").write_bytes(data)
        text = publish_tasks._verified(verify.verify(str(catalogue)))
        assert f"WRONG: smoke/{version.name}/release.json {said}" in text
        assert "Error" not in text and "; ;" not in text
    with pytest.raises(ImageError) as caught:
        released.find(open_target(str(catalogue)), "smoke", None)
    assert f"smoke/{version.name}/release.json {said}" in str(caught.value)


def test_verify_needs_a_catalogue(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="not a catalogue"):
        verify.verify(str(tmp_path))


def test_an_edited_verdict_is_seen_even_if_everything_is_signed_again(root: Path) -> None:
    directory = lab.built(root)
    passed = gate.examine(lab.load(root), directory, allow_untested=True)
    liar = gate.Passed(
        passed.loaded, passed.record, directory, (gate.Tested("kvm", "passed", "kvm", "2026-01-01T00:00:00Z"),)
    )
    key = signature.load_private_key(None, Silent())
    target = open_target(str(root / "catalogue"))
    publish.write(liar, target, private_key=key, events=Silent())
    problems = verify.verify(str(root / "catalogue"))["problems"]
    assert [problem["file"].rpartition("/")[2] for problem in problems] == ["kvm.json"]


def test_the_same_bytes_are_the_same_version_and_nothing_to_do(root: Path, catalogue: Path) -> None:
    before = {path: path.stat().st_mtime_ns for path in _files(catalogue)}
    lab.booted(root / "build/smoke", finished="2026-11-23T19:00:00Z")
    again = lab.publish(root, str(catalogue))
    assert (again.new, again.sent) == (False, 0)
    assert {path: path.stat().st_mtime_ns for path in _files(catalogue)} == before


def test_other_bytes_under_a_version_are_an_error(root: Path, catalogue: Path) -> None:
    lab.publish(root, str(catalogue), version="2026.1")
    before = {path: path.read_bytes() for path in _files(catalogue)}
    lab.ready(root, 1)
    with pytest.raises(ImageError, match=r"2026\.1 is published with other bytes"):
        lab.publish(root, str(catalogue), version="2026.1")
    assert {path: path.read_bytes() for path in _files(catalogue)} == before
    other = lab.publish(root, str(catalogue))
    assert other.new
    latest = json.loads((catalogue / "smoke/latest.json").read_text())
    assert latest["version"] == other.release.version
    assert len(verify.verify(str(catalogue))["images"]) == 3


@pytest.mark.parametrize("version", ["../x", "a/b", "", ".hidden", "latest.json", "_base", "a" * 200, "x y"])
def test_a_version_is_the_name_of_a_directory(version: str) -> None:
    with pytest.raises(UsageError):
        layout.checked_version(version)


def test_untested_is_in_the_release_for_ever(root: Path) -> None:
    lab.built(root)
    done = lab.publish(root, str(root / "catalogue"), allow_untested=True)
    assert done.to_json()["untested"] is True
    version = _version(root / "catalogue")
    for name in ("release.json", "manifest.json"):
        said = json.loads((version / name).read_text())
        assert said["untested"] is True
        assert said["hypervisors"]["kvm"]["verdict"] == "untested"
    assert (version / "kvm.sub").read_text().startswith("# UNTESTED: ")
    result = verify.verify(str(root / "catalogue"))
    assert result["ok"]
    assert "WITHOUT a test boot" in result["images"][0]["notes"][0]
    # Tested later, it is another release: what was said stays.
    lab.booted(root / "build/smoke")
    assert lab.publish(root, str(root / "catalogue")).new
    assert json.loads((version / "release.json").read_text())["untested"] is True


def _for_both(root: Path) -> Path:
    """Make a build directory of an image for both hypervisors: the root as qcow2 for kvm, raw for xen."""
    recipe = root / "recipes/smoke.yaml"
    recipe.write_text(recipe.read_text().replace("hypervisors: [kvm]", "hypervisors: [kvm, xen]"))
    return lab.built(root, files={"root.qcow2": b"q" * 9000, "root.raw": b"r" * 9000, "io.raw": b"i" * 5000})


def _boots(directory: Path, under: str, **changes: Any) -> None:
    other = {"kvm": "root.raw", "xen": "root.qcow2"}[under]
    disks = [one for one in lab.verdict(directory)["disks"] if one["name"] != other]
    lab.booted(directory, under=under, **{"disks": disks, **changes})


def test_the_xen_side_is_published_by_a_boot_of_its_own(root: Path) -> None:
    directory = _for_both(root)
    _boots(directory, "kvm")
    with pytest.raises(ImageError, match="xen: it was not booted") as refused:
        lab.publish(root, str(root / "catalogue"))
    assert "--hypervisor xen" in (refused.value.problem.hint or "")
    # The report of one side is not that of the other: both seals hold.
    _boots(directory, "xen", machine="xenpv", hypervisor_version="Xen 4.17.7")
    lab.publish(root, str(root / "catalogue"))
    version = _version(root / "catalogue")
    said = json.loads((version / "release.json").read_text())
    assert {name: one["verdict"] for name, one in said["hypervisors"].items()} == {"kvm": "passed", "xen": "passed"}
    assert said["hypervisors"]["xen"]["machine"] == "xenpv"
    assert said["hypervisors"]["xen"]["version"] == "Xen 4.17.7"
    assert "version" not in said["hypervisors"]["kvm"]
    assert json.loads((version / "manifest.json").read_text())["hypervisors"]["xen"]["verdict"] == "passed"
    assert json.loads((version / "boot/xen.json").read_text())["report"] == "boot/xen/report.html"
    assert (version / "boot/xen/report.html").is_file()
    assert (version / "boot/report.html").is_file()
    assert not (version / "xen.sub").read_text().startswith("# xen")
    assert verify.verify(str(version))["ok"]
    assert "root.raw:xvda" in _described(root, hypervisor="xen")


def test_an_image_for_xen_alone_is_published_by_its_boot(root: Path) -> None:
    recipe = root / "recipes/smoke.yaml"
    recipe.write_text(recipe.read_text().replace("[kvm]", "[xen]").replace("format: qcow2", "format: raw"))
    directory = lab.built(root, files={"root.raw": b"r" * 9000, "io.raw": b"i" * 5000})
    _boots(directory, "xen", machine="xenpv", eviction={"tried": False, "obeyed": None, "seconds": None, "seen": ""})
    lab.publish(root, str(root / "catalogue"))
    said = json.loads((_version(root / "catalogue") / "release.json").read_text())
    assert said["hypervisors"]["xen"]["verdict"] == "passed"
    assert said["untested"] is False


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"passed": False, "cause": "no-boot-loader"}, "no-boot-loader"),
        ({"disks": [{"name": "root.raw", "sha256": "0" * 64}]}, "was not part of the boot|is not the file"),
        ({"expectations": []}, "did not try all"),
        ({"hypervisor": "kvm"}, "is for kvm"),
    ],
)
def test_the_xen_side_is_held_to_what_the_kvm_side_is(root: Path, changes: dict[str, Any], why: str) -> None:
    directory = _for_both(root)
    _boots(directory, "kvm")
    _boots(directory, "xen", **changes)
    with pytest.raises(ImageError, match=why):
        lab.publish(root, str(root / "catalogue"))


def test_a_xen_verdict_whose_report_changed_is_refused(root: Path) -> None:
    directory = _for_both(root)
    _boots(directory, "kvm")
    _boots(directory, "xen")
    (directory / "boot/xen/report.html").write_text("better")
    with pytest.raises(ImageError, match="was changed after the boot"):
        lab.publish(root, str(root / "catalogue"))


def _described(root: Path, **options: Any) -> str:
    source = options.pop("source", str(root / "catalogue"))
    return submit.published("smoke", source, submit.Options(**options))


def test_submit_takes_the_place_that_its_publisher_said(root: Path) -> None:
    lab.ready(root)
    lab.publish(root, str(root / "catalogue"), public="https://images.example.org/c/")
    version = _version(root / "catalogue")
    assert layout.parse_release((version / layout.RELEASE).read_bytes(), "x").raw["public"].endswith("example.org/c")
    text = _described(root)
    assert f"https://images.example.org/c/smoke/{version.name}/root.qcow2" in text and str(root) not in text
    assert text == (version / "kvm.sub").read_text()
    # What the caller says counts more.
    assert f"{root}/catalogue/smoke" in _described(root, transfer="shared")
    assert "transfer_input_files = root.qcow2,io.raw" in _described(root, transfer="files")
    assert "https://other.example/c/smoke" in _described(root, transfer="https://other.example/c")


@pytest.mark.parametrize(
    "place", ["", "images", "https://x/a,b", "https://x/a b", "https://x/\nqueue 9", "https://x/$(a)", 5, ["https://x"]]
)
def test_what_a_catalogue_says_of_its_place_is_a_place(place: object) -> None:
    files: list[Any] = []
    found = layout.Release("smoke", "1", "", "", False, tuple(files), {"public": place})
    with pytest.raises(ImageError, match="neither a URL nor an absolute path"):
        released.public(found)


def test_submit_from_a_catalogue_needs_no_build(root: Path, catalogue: Path) -> None:
    shutil.rmtree(root / "build")
    version = _version(catalogue).name
    whole = _described(root)
    assert f"transfer_input_files = {catalogue}/smoke/{version}/root.qcow2,{catalogue}" in whole
    assert whole == (_version(catalogue) / "kvm.sub").read_text()
    assert _described(root, source=f"{catalogue}@{version}") == whole
    assert _described(root, transfer="shared") == whole
    notes: list[str] = []

    class Noted(Silent):
        def note(self, text: str) -> None:
            notes.append(text)

    submit.published("smoke", str(catalogue), submit.Options(transfer="shared"), Noted())
    assert notes == [f"published disks are never used in place: each job copies them from {catalogue}"]
    with pytest.raises(UsageError, match="no effect on a published image"):
        _described(root, sets=["submit.transfer=shared"])
    url = _described(root, transfer="https://example.org/c/", snippet=True)
    assert f"https://example.org/c/smoke/{version}/io.raw" in url
    assert "queue" not in url
    assert "transfer_input_files = root.qcow2,io.raw" in _described(root, transfer="files")
    (root / "jobs.csv").write_text("io\na.raw\nb.raw\n")
    for name in ("a.raw", "b.raw"):
        # `io` and `submit` take no file for a job's disk that is none.
        subprocess.run(["mke2fs", "-q", "-F", root / name, "1M"], check=True, env=process.environment())
    jobs = _described(root, jobs=root / "jobs.csv")
    assert "queue io from (" in jobs
    assert f"{catalogue}/smoke/{version}/root.qcow2,$(io)" in jobs
    for number, text in enumerate((whole, jobs, _described(root, transfer="https://example.org/c"))):
        (root / f"{number}.sub").write_text(text)
        report = lint_file(root / f"{number}.sub")
        # The disks are no qcow2 here: what is said of their content is right.
        codes = {finding.rule.code for finding in report.findings if finding.rule.severity == "error"}
        assert codes <= {"fmt-mismatch"}, report.render()


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"source": "{catalogue}@1.0"}, "has no smoke 1.0"),
        ({"source": "{catalogue}/nowhere"}, "no such directory: '.*/nowhere'"),
        ({"hypervisor": "xen"}, "not made for xen"),
        ({"hypervisor": "vmware"}, "no such hypervisor"),
        ({"transfer": "carrier-pigeon"}, "no such transfer"),
    ],
)
def test_submit_from_says_what_is_not_there(root: Path, catalogue: Path, options: dict[str, str], reason: str) -> None:
    filled = {key: value.format(catalogue=catalogue) for key, value in options.items()}
    with pytest.raises(UsageError, match=reason):
        _described(root, **filled)


@pytest.mark.parametrize("name", ["release.json", "SHA256SUMS", "SHA256SUMS.sig", "manifest.json"])
def test_submit_from_a_changed_release_is_refused(root: Path, catalogue: Path, name: str) -> None:
    path = _version(catalogue) / name
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(ImageError):
        _described(root)


def test_images_that_share_a_base_publish_it_once(root: Path) -> None:
    """Two images and a second version of one: real qcow2 overlays with a relative backing file."""
    text = (root / "recipes/smoke.yaml").read_text()
    (root / "recipes/other.yaml").write_text(text.replace("name: smoke", "name: other"))
    base = cellar.base(root / "work")
    size = base.stat().st_size
    catalogue = root / "catalogue"
    sent = []
    for seed, name in ((1, "smoke"), (2, "other"), (3, "smoke")):
        cellar.overlay(root, base, seed, name=name)
        sent.append(lab.publish(root, str(catalogue), name=name))
    sha = checksum.sha256(base)
    assert [str(path.relative_to(catalogue)) for path in catalogue.rglob("base.qcow2")] == [f"_base/{sha}/base.qcow2"]
    assert (catalogue / "_base" / sha / "base.qcow2").read_bytes() == base.read_bytes()
    assert [one.sent > size for one in sent] == [True, False, False]
    assert [one.kept >= size for one in sent] == [False, True, True]
    # The first version of an image is all new to whoever has none; the next one is its overlay only.
    assert [one.fetched > size for one in sent] == [True, True, False]
    overlay = (root / "build/smoke/root.qcow2").stat().st_size
    assert sent[2].fetched == overlay == sent[2].to_json()["transfer"]["new_to_users"]
    shown = publish_tasks._published(sent[2])
    assert f"new to those who have {sent[0].release.version}: {format_size(overlay)}" in shown
    assert "it is the first version" in publish_tasks._published(sent[0])
    assert "shared base" in shown
    assert verify.verify(str(catalogue))["ok"]
    for name in ("smoke", "other"):
        text = submit.published(name, str(catalogue), submit.Options(transfer="https://example.org/c"))
        assert f"https://example.org/c/_base/{sha}/base.qcow2" in text
        # It travels with the overlay, and is not a disk of the machine.
        assert "base.qcow2:" not in text
    done = subprocess.run(
        ["sha256sum", "-c", "SHA256SUMS"],
        cwd=catalogue / sent[1].release.directory,
        capture_output=True,
        check=False,
        text=True,
    )
    assert done.returncode == 0
    assert f"../../_base/{sha}/base.qcow2: OK" in done.stdout
    found = read.read(str(catalogue), Silent())
    (image,) = (one for one in found.images if one.name == "smoke")
    step = changes.between(image.versions[1], image.versions[0])
    assert step.fetched == overlay
    site.write(found, root / "site", public=None, events=Silent())
    page = (root / "site/images/smoke.html").read_text()
    assert "shared base" in page
    assert f"{format_size(overlay)} to fetch" in page
    _flip_first(catalogue / "_base" / sha / "base.qcow2")
    wrong = verify.verify(str(catalogue))["problems"]
    assert {problem["file"] for problem in wrong} == {f"_base/{sha}/base.qcow2"}
    for name in ("smoke", "other"):
        assert not verify.verify(f"{catalogue}/{name}")["ok"]


def _flip_first(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))


@pytest.fixture
def memory() -> Iterator[str]:
    """Return the URL of an empty place in memory."""
    url = "memory://catalogue"
    target = open_target(url)
    assert isinstance(target, Memory)
    yield url
    for path in walk(target, ""):
        target.remove(path)


def test_a_catalogue_anywhere_that_fsspec_opens(root: Path, memory: str) -> None:
    lab.ready(root)
    done = lab.publish(root, memory)
    assert verify.verify(memory)["ok"]
    assert verify.verify(f"{memory}/smoke/{done.release.version}")["ok"]
    # HTCondor has no plugin for it, so the files are carried from beside the description.
    assert "transfer_input_files = root.qcow2,io.raw" in _described(root, source=memory)
    assert not lab.publish(root, memory).new


def test_public_says_where_jobs_find_it(root: Path, memory: str) -> None:
    lab.ready(root)
    done = lab.publish(root, memory, public="osdf:///site/images")
    text = (open_target(memory).read(f"{done.release.directory}/kvm.sub") or b"").decode()
    assert f"osdf:///site/images/{done.release.directory}/root.qcow2" in text


@pytest.mark.parametrize("place", ["memory", "directory"])
def test_of_many_that_create_a_name_one_succeeds(tmp_path: Path, memory: str, place: str) -> None:
    target = open_target(memory if place == "memory" else str(tmp_path))
    told: list[bool] = []
    threads = [threading.Thread(target=lambda n=n: told.append(target.create("a/b", b"%d" % n))) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(told) == [False] * 7 + [True]
    assert target.names("a") == ["b"]


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    for url in ("sftp://me:hunter2@example.org/x", "s3://key:hunter2@bucket/x"):
        with pytest.raises(UsageError) as refused:
            open_target(url)
        assert "hunter2" not in str(refused.value)


def test_an_unknown_kind_of_place_is_a_wrong_call() -> None:
    with pytest.raises(UsageError, match="gopher"):
        open_target("gopher://example.org/x")


def test_a_full_or_forbidden_place_is_one_error(root: Path) -> None:
    lab.ready(root)
    (root / "file").write_text("not a directory")
    with pytest.raises(UsageError, match="file is not a directory"):
        lab.publish(root, str(root / "file" / "catalogue"))


def test_no_secret_of_a_recipe_or_a_key_is_published(root: Path, catalogue: Path) -> None:
    private = (root / "config/roost/signing-key").read_bytes()
    assert (root / "config/roost/signing-key").stat().st_mode & 0o777 == 0o600
    secret = b"".join(private.splitlines()[2:-1])
    directory = lab.built(root, 3)
    data = json.loads((directory / "manifest.json").read_text())
    data["inputs"]["debian"] = {"mirror": "https://me:hunter2@mirror.example.org/debian"}
    (directory / "manifest.json").write_text(json.dumps(data))
    lab.booted(directory)
    lab.publish(root, str(catalogue))
    assert len(secret) > 100
    for path in _files(catalogue):
        text = path.read_bytes()
        assert b"hunter2" not in text, path
        assert secret[:40] not in text, path


@pytest.mark.parametrize("kind", ["rsa", "garbage", "missing"])
def test_a_key_that_cannot_sign_is_a_wrong_call(tmp_path: Path, kind: str) -> None:
    path = tmp_path / "key"
    if kind == "rsa":
        argv = ["ssh-keygen", "-q", "-t", "rsa", "-b", "2048", "-N", "", "-f", str(path)]
        subprocess.run(argv, check=True)
    elif kind == "garbage":
        path.write_text("-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----\n")
    with pytest.raises(UsageError) as refused:
        signature.load_private_key(path, Silent())
    assert "hunter2" not in str(refused.value)


def test_a_key_of_ssh_keygen_signs_as_ssh_keygen_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "secret", "-f", str(path)], check=True)
    with pytest.raises(UsageError):
        signature.load_private_key(path, Silent())
    monkeypatch.setenv("ROOST_SIGNING_PASSPHRASE", "secret")
    monkeypatch.setenv("ROOST_SIGNING_KEY", str(path))
    private = signature.load_private_key(None, Silent())
    (tmp_path / "data").write_bytes(b"some bytes\n")
    plain = ["ssh-keygen", "-q", "-p", "-P", "secret", "-N", "", "-f", str(path)]
    subprocess.run(plain, check=True, capture_output=True)
    argv = ["ssh-keygen", "-q", "-Y", "sign", "-n", "file", "-f", str(path), str(tmp_path / "data")]
    subprocess.run(argv, check=True, capture_output=True)
    assert signature.sign(private, b"some bytes\n") == (tmp_path / "data.sig").read_bytes()
    keys, wrong = signature.read_keys((tmp_path / "key.pub").read_bytes())
    assert (keys, wrong) == ([signature.public_key(private)], [1])


def test_no_key_is_made_for_what_is_not_a_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from roost.pipeline import publish

    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.delenv("ROOST_SIGNING_KEY", raising=False)
    with pytest.raises(RecipeError, match="no such recipe"):
        publish.publish("no-such-recipe", to=str(tmp_path / "site"), events=Silent())
    assert not list(tmp_path.rglob("signing-key*"))


def test_a_release_that_names_files_outside_is_refused() -> None:
    said = {
        "name": "a",
        "version": "1",
        "created": "",
        "identity": "",
        "untested": False,
        "files": [
            {"name": "x", "path": "a/1/../../x", "role": "", "format": "", "size": 1, "virtual": 1, "sha256": ""}
        ],
    }
    with pytest.raises(ImageError, match="outside"):
        layout.parse_release(json.dumps(said).encode(), "release.json")


def test_a_directory_keeps_the_holes_of_an_image(tmp_path: Path) -> None:
    source = tmp_path / "disk.raw"
    with source.open("wb") as file:
        file.truncate(64 << 20)
        file.seek(32 << 20)
        file.write(b"in the middle")
    Directory(tmp_path / "c").put("a/disk.raw", source, checksum.sha256(source))
    copy = tmp_path / "c/a/disk.raw"
    assert checksum.sha256(copy) == checksum.sha256(source)
    assert copy.stat().st_blocks * 512 < 16 << 20


def test_recipes_say_what_was_published(root: Path) -> None:
    directory = lab.ready(root)
    record = manifest.read(directory)
    assert record is not None
    loaded = loader.load("smoke", root)
    assert not publish.is_published(directory, record)
    assert recipes._state(loaded) == "booted"
    lab.publish(root, str(root / "catalogue"))
    assert publish.is_published(directory, record)
    assert recipes._state(loaded) == "published"
    lab.built(root, 1)
    assert recipes._state(loaded) == "built"
    lab.booted(directory, passed=False)
    assert recipes._state(loaded) == "failed"
    # A verdict of another build says nothing of this one.
    lab.built(root, 2)
    assert recipes._state(loaded) == "built"


def test_every_error_is_roosts_own(root: Path, catalogue: Path) -> None:
    """A catalogue of rubbish is answered, not fallen over."""
    for name, data in (("release.json", b"[]"), ("SHA256SUMS", b"\xff" * 99), ("SHA256SUMS.sig", b"\0")):
        (_version(catalogue) / name).write_bytes(data)
        assert not verify.verify(str(catalogue))["ok"]
        with pytest.raises(RoostError):
            _described(root)
    (catalogue / "smoke/latest.json").write_bytes(b"\xff")
    (catalogue / "allowed_signers").write_bytes(b"\xff\n")
    assert not verify.verify(str(catalogue))["ok"]
