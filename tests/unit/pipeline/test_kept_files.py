"""What jobs left in an image's directory outlives its builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from roost.errors import UsageError
from roost.pipeline import kept_files
from roost.recipe.model import Recipe
from roost.store import manifest
from roost.store.manifest import Manifest, describe

RECIPE = Recipe.model_validate(
    {
        "name": "image",
        "os": {"tree": {"path": "tree"}},
        "disks": [{"name": "root", "partitions": [{"mount": "/", "filesystem": "ext4", "free": "8MiB"}]}],
    }
)
OWN = ("root.raw", "old.qcow2", "kvm.sub", "xen-files.sub", "SHA256SUMS", "manifest.json", "sbom.cdx.json")
OTHERS = ("io-77.0.raw", "image.77.0.log", "mine.sub", ".hidden")


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """Return the directory of a build, with what jobs left there; `new` beside it is to replace it."""
    old = tmp_path / "image"
    (old / "log").mkdir(parents=True)
    (old / "boot").mkdir()
    for name in (*OWN, *OTHERS):
        (old / name).write_text(name)
    files = (describe(old / "old.qcow2", "qcow2", 1, "0" * 64),)
    manifest.write(old, Manifest("image", "key", {}, {}, files, {}, {}))
    (old / "results/1").mkdir(parents=True)
    (old / "results").chmod(0o750)
    (old / "results/1/out.txt").write_text("42")
    (old / "link").symlink_to("nowhere")
    (tmp_path / "new").mkdir()
    return old


def test_what_roost_did_not_write_is_in_the_new_directory(directory: Path) -> None:
    new = directory.parent / "new"
    (new / "kvm.sub").write_text("new")
    kept_files.keep(RECIPE, directory, new)
    assert {path.name for path in new.iterdir()} == {"kvm.sub", "results", "link", *OTHERS}
    assert (new / "kvm.sub").read_text() == "new"
    # A job may still be writing to it.
    assert (new / "io-77.0.raw").samefile(directory / "io-77.0.raw")
    assert (new / "results/1/out.txt").read_text() == "42" and (new / "results").stat().st_mode & 0o777 == 0o750
    assert (new / "link").readlink() == Path("nowhere")


def test_where_there_are_no_hard_links_it_is_copied(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    (directory / "link").unlink()
    monkeypatch.setattr(os, "link", refuse)
    kept_files.keep(RECIPE, directory, directory.parent / "new")
    assert (directory.parent / "new/image.77.0.log").read_text() == "image.77.0.log"


def test_what_cannot_be_kept_is_named(directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "link", refuse)
    monkeypatch.setattr("shutil.copy2", refuse)
    with pytest.raises(UsageError, match="was not written by roost, and cannot be kept"):
        kept_files.keep(RECIPE, directory, directory.parent / "new")


def test_a_first_build_has_nothing_to_keep(tmp_path: Path) -> None:
    kept_files.keep(RECIPE, tmp_path / "image", tmp_path)
    assert list(tmp_path.iterdir()) == []
