"""The record of a build, and whether it still holds."""

from __future__ import annotations

import json
import os
from pathlib import Path

from roost.condor import submission
from roost.customize import inputs as image_inputs
from roost.errors import Location
from roost.host import checksum
from roost.pipeline import image
from roost.recipe.loader import Loaded
from roost.recipe.model import Recipe
from roost.recipe.nodes import Node
from roost.store import manifest


def _directory(tmp_path: Path) -> manifest.Manifest:
    (tmp_path / "root.raw").write_bytes(b"\0" * 4096)
    file = manifest.describe(tmp_path / "root.raw", "raw", 4096, checksum.sha256(tmp_path / "root.raw"))
    record = manifest.Manifest("x", "key", {"rootfs": "k"}, {"suite": "bookworm"}, (file,), {}, {"disks": 1.5})
    manifest.write(tmp_path, record)
    return record


def test_what_is_written_is_read(tmp_path: Path) -> None:
    record = _directory(tmp_path)
    assert manifest.read(tmp_path) == record


def test_an_overlay_names_its_base_and_older_manifests_do_not(tmp_path: Path) -> None:
    record = _directory(tmp_path)
    assert "backing" not in record.files[0].public()
    (tmp_path / "root.qcow2").write_bytes(b"Q" * 512)
    overlay = manifest.describe(tmp_path / "root.qcow2", "qcow2", 4096, "0" * 64, "root.raw")
    files = (*record.files, overlay)
    manifest.write(tmp_path, manifest.Manifest("x", "key", {}, {}, files, {}, {}))
    read = manifest.read(tmp_path)
    assert read is not None
    assert [file.backing for file in read.files] == [None, "root.raw"]
    assert read.files[1].public()["backing"] == "root.raw"
    assert submission.built_files(read.files, None).backing == {"root.qcow2": "root.raw"}
    data = json.loads((tmp_path / "manifest.json").read_text())
    for file in data["files"]:
        del file["backing"]
    (tmp_path / "manifest.json").write_text(json.dumps(data))
    older = manifest.read(tmp_path)
    assert older is not None
    assert [file.backing for file in older.files] == [None, None]


def test_sums_are_checked_by_sha256sum(tmp_path: Path) -> None:
    _directory(tmp_path)
    digest = "ad7facb2586fc6e966c004d7d1d16b024f5805ff7cb47c7a85dabd8b48892ca7"
    assert (tmp_path / "SHA256SUMS").read_text() == f"{digest}  root.raw\n"


def test_fresh_while_key_and_files_hold(tmp_path: Path) -> None:
    _directory(tmp_path)
    assert manifest.is_fresh(tmp_path, "key")
    assert not manifest.is_fresh(tmp_path, "other")


def test_a_touched_grown_or_removed_file_is_not_fresh(tmp_path: Path) -> None:
    _directory(tmp_path)
    image = tmp_path / "root.raw"
    os.utime(image, (0, 0))
    assert not manifest.is_fresh(tmp_path, "key")
    _directory(tmp_path)
    with image.open("ab") as file:
        file.write(b"x")
    assert not manifest.is_fresh(tmp_path, "key")
    _directory(tmp_path)
    image.unlink()
    assert not manifest.is_fresh(tmp_path, "key")


def test_a_broken_manifest_reads_as_none(tmp_path: Path) -> None:
    for text in ("", "[]", "null", "{}", '{"files": [{"name": 1}]}', '{"files": 3}', "\x00"):
        (tmp_path / manifest.NAME).write_text(text)
        assert manifest.read(tmp_path) is None


def _recipe(**more: object) -> Recipe:
    return Recipe.model_validate(
        {
            "name": "x",
            "os": {"debian": {"suite": "bookworm"}},
            "disks": [{"name": "root", "partitions": [{"mount": "/", "free": "5MiB"}]}],
            **more,
        }
    )


def _key(recipe: Recipe, directory: Path, source: str = "a tree") -> str:
    return image.keys(Loaded(recipe, directory / "x.yaml", (), Node({}, Location("x.yaml"))), source).image


def test_every_change_changes_the_key(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    (tmp_path / "files" / "run").write_text("one")
    recipe = _recipe(files=[{"path": "/run", "source": "files/run"}])
    key = _key(recipe, tmp_path)
    assert _key(recipe, tmp_path) == key
    keys = {
        key,
        _key(_recipe(), tmp_path),
        _key(recipe, tmp_path, "another tree"),
    }
    (tmp_path / "files" / "run").write_text("two")
    keys.add(_key(recipe, tmp_path))
    (tmp_path / "files" / "run").chmod(0o755)
    keys.add(_key(recipe, tmp_path))
    assert len(keys) == 5


def test_a_changed_directory_changes_the_key(tmp_path: Path) -> None:
    tree = tmp_path / "tree"
    (tree / "etc").mkdir(parents=True)
    recipe = _recipe(files=[{"path": "/opt", "source": "tree"}])
    keys = [_key(recipe, tmp_path)]
    (tree / "etc" / "motd").write_text("hello")
    keys.append(_key(recipe, tmp_path))
    (tree / "etc" / "link").symlink_to("motd")
    keys.append(_key(recipe, tmp_path))
    assert len(set(keys)) == 3
    assert json.dumps(image_inputs.local_files(recipe, tmp_path))
