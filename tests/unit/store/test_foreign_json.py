"""Records that a stranger may have written: manifest.json, release.json, latest.json, verdicts, claims, keys."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from roost.boot import attestation
from roost.errors import ImageError, RecipeError
from roost.publish import claim, layout, upload
from roost.publish.targets.directory import Directory
from roost.recipe import loader
from roost.store import manifest

NESTED = ["[" * 100_000, '{"files":' * 100_000, '{"a":[' * 100_000]
OTHER = ["", "{", "null", "[]", "1e999", '"x"', "NaN", '{"files": 1}', '{"files": [1], "name": []}', "\ufffe", "\0"]
GOOD = {
    "name": "x",
    "key": "k",
    "keys": {},
    "inputs": {},
    "facts": {},
    "seconds": {},
    "files": [{"name": "a", "format": "raw", "sha256": "0", "virtual": 1, "allocated": 1, "size": 1, "mtime_ns": 1}],
}


@pytest.mark.parametrize("text", NESTED + OTHER)
def test_each_record_has_one_error(text: str, tmp_path: Path) -> None:
    """No RecursionError, no TypeError: the record is not one, and that is said or seen."""
    data = text.encode()
    assert manifest.parse(data) is None
    with pytest.raises(ImageError, match=r"x/release\.json"):
        layout.parse_release(data, "x/release.json")
    assert claim.parsed(data) in ({}, {"files": 1}, {"files": [1], "name": []})
    (tmp_path / "boot").mkdir()
    (tmp_path / manifest.NAME).write_bytes(data)
    assert manifest.read(tmp_path) is None
    attestation.seal_path(tmp_path, "kvm").write_bytes(data)
    assert "cannot be read" in str(attestation.opened(tmp_path, "kvm"))
    (tmp_path / "image").mkdir()
    (tmp_path / "image/latest.json").write_bytes(data)
    assert upload.current(Directory(tmp_path), "image") is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"seconds": {"tree": "long"}},
        {"keys": []},
        {"files": [{**GOOD["files"][0], "size": "many"}]},  # type: ignore[index]
        {"files": {"name": 1}},
        {"name": ["x"]},
        {"facts": 5},
        {"unknown": 1},
    ],
)
def test_a_manifest_of_wrong_types_reads_as_none(wrong: dict[str, object]) -> None:
    """What reads it later may rely on its types."""
    assert manifest.parse(json.dumps(GOOD).encode()) is not None
    assert manifest.parse(json.dumps(GOOD | wrong).encode()) is None


@pytest.mark.parametrize("name", ["manifest.json", "boot/kvm.json"])
def test_a_fifo_in_a_build_is_not_waited_for(name: str, tmp_path: Path) -> None:
    """`inv recipes` looks at every build."""
    (tmp_path / "boot").mkdir()
    os.mkfifo(tmp_path / name)
    os.mkfifo(attestation.seal_path(tmp_path, "kvm"))
    assert manifest.read(tmp_path) is None
    assert "cannot be read" in str(attestation.opened(tmp_path, "kvm"))


def test_a_recipe_that_is_a_fifo_is_reported(tmp_path: Path) -> None:
    """The recipe itself, and a base."""
    os.mkfifo(tmp_path / "r.yaml")
    with pytest.raises(RecipeError, match=r".") as caught:
        loader.load(str(tmp_path / "r.yaml"), tmp_path)
    assert "r.yaml: cannot be read: a FIFO, not a file" in str(caught.value)
    (tmp_path / "s.yaml").write_text("extends: r.yaml\nname: s\n")
    with pytest.raises(RecipeError) as caught:
        loader.load(str(tmp_path / "s.yaml"), tmp_path)
    assert "r.yaml: cannot be read: a FIFO, not a file" in str(caught.value)
