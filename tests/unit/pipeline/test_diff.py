"""What `inv diff` and `inv packages` say of builds, published versions and recipes; disks are read in tests/images."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from roost.catalogue import difference
from roost.cli import compare
from roost.errors import HostError, ImageError, UsageError
from roost.events import Silent
from roost.pipeline import diff as story
from roost.pipeline import installed, sides
from roost.store import manifest
from roost.verify.contents import Entry
from tests.publish import lab, sample


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a project with builds a and b, and a catalogue with three versions of analysis."""
    monkeypatch.setenv("ROOST_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    lab.project(tmp_path)
    _built(tmp_path, "a", {"gone": "1", "same": "2", "perl": "5.36"}, memory="256MiB", io=100_000)
    _built(tmp_path, "b", {"new": "3", "same": "2", "perl": "5.40"}, memory="512MiB", io=200_000)
    return tmp_path


def _built(root: Path, name: str, packages: dict[str, str], *, memory: str, io: int) -> Path:
    recipe = sample.RECIPE.format(name=name, description="x", free="16MiB", hypervisors="kvm")
    (root / "recipes" / f"{name}.yaml").write_text(recipe.replace("256MiB", memory))
    kernel = "6.1.0-35" if name == "a" else "6.1.0-37"
    files = {"root.raw": bytes(200_000), "io.raw": bytes(io)}
    return lab.built(root, name=name, files=files, facts=sample.facts(packages, kernel, "Debian"))


def _diff(*words: str, url: str = "") -> dict[str, Any]:
    return story.diff(words, events=Silent(), url=url, files=False).to_json()


def test_two_builds(root: Path) -> None:
    found = _diff("a", "b")
    assert not found["same"]
    assert found["packages"] == {
        "added": [{"name": "new", "version": "3"}],
        "removed": [{"name": "gone", "version": "1"}],
        "changed": [{"name": "perl", "old": "5.36", "new": "5.40"}],
    }
    assert found["kernel"] == {"old": "6.1.0-35", "new": "6.1.0-37"}
    assert [one["name"] for one in found["sizes"]] == ["io.raw"]
    assert "-vm_memory      = 256\n" in found["submit"]["kvm"]
    assert "+vm_memory      = 512\n" in found["submit"]["kvm"]
    assert {"key": "machine.memory", "old": "256 MiB", "new": "512 MiB"} in found["recipe"]
    assert found["files"] is None
    assert found["notes"]


def test_a_build_is_the_same_as_itself_and_as_a_copy_of_it(root: Path) -> None:
    assert story.diff(["a", "build/a"], events=Silent()).same
    # The same bytes are not read, and count as compared.
    assert story.diff(["a", "a"], events=Silent()).files == ()


def test_a_path_with_an_at_sign_is_a_path(root: Path) -> None:
    shutil.copytree(root / "build/a", root / "copy@1")
    assert _diff("a", "copy@1")["same"]
    assert installed.packages("copy@1")["packages"]
    assert not sides.is_published("./me@home/sim.yaml")


def test_published_versions_and_the_build_here(root: Path) -> None:
    url = str(root / "catalogue")
    sample.fill(root, url)
    found = _diff("analysis@2026.09", "analysis@2026.11", url=url)
    assert found["a"] == {"name": "analysis", "version": "2026.09", "kind": "published"}
    assert {one["name"] for one in found["packages"]["added"]} == {"python3-minimal"}
    assert found["submit"] is not None
    assert not any(url in text for text in found["submit"].values())
    assert found["recipe"] == [{"key": "disks[root].partitions[/].free", "old": "16 MiB", "new": "32 MiB"}]
    # A name alone is the latest.
    assert _diff("analysis@2026.11", "analysis", url=url)["same"]
    mixed = _diff("analysis", url=url)
    assert (mixed["a"]["kind"], mixed["b"]["kind"]) == ("published", "build")
    assert not mixed["packages"]["changed"]
    with pytest.raises(UsageError, match="has no analysis 2025"):
        _diff("analysis@2025", "analysis", url=url)
    with pytest.raises(UsageError, match="no catalogue given"):
        _diff("analysis@2026.09", "a")


def test_the_build_and_what_its_recipe_says_now(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def away(*_args: object) -> None:
        raise HostError("the archive does not answer")

    monkeypatch.setattr("roost.pipeline.planning.plan", away)
    path = root / "recipes/a.yaml"
    path.write_text(path.read_text().replace("10min", "20min").replace("memory: 256MiB", "memory: 300MiB"))
    found = _diff("a")
    assert found["b"]["kind"] == "recipe"
    # The file's sum in this record is made up.
    assert {one["key"] for one in found["recipe"]} == {"job.timeout", "machine.memory", "content of files/run"}
    assert "+vm_memory      = 300\n" in found["submit"]["kvm"]
    # What could not be asked is said, and does not count as the same.
    assert found["packages"] is None
    assert "packages are not compared: the archive does not answer" in found["notes"]


def test_what_was_changed_by_hand_is_not_believed(root: Path) -> None:
    bill = root / "build/a/sbom.cdx.json"
    bill.write_bytes(bill.read_bytes().replace(b"5.36", b"5.99"))
    with pytest.raises(ImageError, match=r"sbom\.cdx\.json changed since the build"):
        installed.packages("a")
    (root / "build/b/manifest.json").write_text("{")
    with pytest.raises(ImageError, match="damaged"):
        _diff("b", "b")


def test_a_disk_that_changed_is_not_compared_and_said(root: Path) -> None:
    (root / "build/a/io.raw").write_bytes(b"other")
    found = story.diff(["a", "b"], events=Silent())
    assert found.files is None
    assert any("io.raw" in note and "not compared" in note for note in found.notes)


def test_names_and_numbers_of_things(root: Path) -> None:
    for words in ([], ["a", "b", "a"]):
        with pytest.raises(UsageError, match="one or two"):
            _diff(*words)
    with pytest.raises(UsageError, match="not built yet"):
        _diff("smoke")
    with pytest.raises(UsageError, match="no such recipe"):
        _diff("nosuch")


def test_packages_of_a_build_and_of_a_version(root: Path) -> None:
    assert [(one["name"], one["version"]) for one in installed.packages("a")["packages"]] == [
        ("gone", "1"),
        ("perl", "5.36"),
        ("same", "2"),
    ]
    url = str(root / "catalogue")
    sample.fill(root, url)
    old, new = (installed.packages(word, url) for word in ("analysis@2026.09", "analysis"))
    assert (old["version"], new["version"]) == ("2026.09", "2026.11")
    assert {"openssl": "3.0.14-1"}.items() <= {one["name"]: one["version"] for one in old["packages"]}.items()
    release = root / "catalogue/analysis/2026.09/sbom.cdx.json"
    release.write_bytes(release.read_bytes() + b" ")
    with pytest.raises(ImageError, match="does not match"):
        installed.packages("analysis@2026.09", url)


def test_differences_of_files_are_told_apart_bounded_and_safe(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = Entry("file", 0o644, "0:0", 3, "aa")
    old = {"/": {"/a": base, "/b": base, "/c": base, "/x\x1b[2J": base}, "io": {}}
    new = {
        "/": {
            "/a": Entry("file", 0o600, "1:0", 3, "aa"),
            "/b": Entry("file", 0o644, "0:0", 4, "bb"),
            "/c": Entry("link", 0o777, "0:0", 0, "/etc"),
        },
        "io": {"/input": Entry("directory", 0o755, "0:0", 0, "")},
    }
    side = sides.required("a").side
    found = difference.between(side, side, (old, new))
    told = {(one["place"], one["path"]): one["what"] for one in found.to_json()["files"]}
    assert told == {
        ("/", "/a"): ["mode", "owner"],
        ("/", "/b"): ["content"],
        ("/", "/c"): ["type"],
        ("/", "/x\\x1b[2J"): ["removed"],
        ("io", "/input"): ["added"],
    }
    shown = compare._shown(found)
    assert "mode 0644 -> 0600, owner 0:0 -> 1:0" in shown
    assert "\x1b" not in shown
    monkeypatch.setattr(difference, "LISTED", 2)
    cut = difference.between(side, side, (old, new))
    assert (len(cut.files or ()), cut.more) == (2, 3)
    json.dumps(cut.to_json())


def test_a_record_of_an_older_roost_has_no_recipe_and_that_is_said(root: Path) -> None:
    path = root / "build/a" / manifest.NAME
    said = json.loads(path.read_text())
    del said["recipe"]
    path.write_text(json.dumps(said))
    found = _diff("a", "b")
    assert found["recipe"] is None
    assert any("older roost" in note for note in found["notes"])
