"""A directory that cannot be listed is an error with its place, never left out of an image or of a key."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from roost.cli import show
from roost.customize import inputs, overlay
from roost.errors import RoostError
from roost.iodisk import inputs as iodisk_inputs
from roost.pipeline import check, planning
from roost.recipe import loader
from tests.unit.preflight.test_preflight import PROJECT, refusals

RECIPE = """name: r
os: {debian: {suite: bookworm, variant: unpacked, packages: [busybox-static]}}
disks: [{name: root, partitions: [{mount: /, filesystem: ext4, free: 16MiB}]}]
files: [{path: /etc/site, source: site}]
"""


@pytest.fixture
def recipe(tmp_path: Path) -> Path:
    (tmp_path / "site/sub").mkdir(parents=True)
    (tmp_path / "site/a").touch()
    (tmp_path / "site/sub/b").touch()
    (tmp_path / "r.yaml").write_text(RECIPE)
    return tmp_path


def close(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """Refuse to list directories of a name, as for a user who is not root."""
    real: Callable[..., Any] = os.scandir

    def scandir(path: Any) -> Any:
        if os.fspath(path).endswith(f"/{name}"):
            raise PermissionError(errno.EACCES, "Permission denied", os.fspath(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)


def test_check_names_it(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    keys = "files: [{path: /etc/site, source: site}]"
    assert refusals(recipe, keys) == []
    close(monkeypatch, "sub")
    (said,) = refusals(recipe, keys)
    assert said.startswith("4: ") and said.endswith("site/sub cannot be read")


def test_check_names_a_file(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "access", lambda path, mode: not os.fspath(path).endswith("/b"))
    (said,) = refusals(recipe, "files: [{path: /etc/site, source: site}]")
    assert said.endswith("site/sub/b cannot be read")


def test_neither_the_key_nor_the_image_leaves_it_out(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = loader.load(recipe / "r.yaml", PROJECT, (), planning.problems)
    assert [item.path for item in overlay.file_items(loaded, "6.1")][-1] == "/etc/site/sub/b"
    close(monkeypatch, "sub")
    with pytest.raises(RoostError, match="sub cannot be read: Permission denied") as refused:
        inputs.recipe_key(loaded.recipe, loaded.directory)
    assert "chmod +rx" in str(refused.value)
    with pytest.raises(RoostError, match="sub cannot be read: Permission denied"):
        list(overlay.file_items(loaded, "6.1"))


def test_an_input_of_the_job_is_told_once(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe / "recipes").mkdir()
    job = "job: {command: run}\nboot_test: {inputs: [../site]}"
    disks = "{name: io, io: true, partitions: [{role: io, filesystem: ext4, size: 16MiB}]}"
    found = [one for one in refusals(recipe / "recipes", job, disks=disks) if "site" in one]
    assert found == []
    real = os.access
    monkeypatch.setattr(
        os, "access", lambda path, mode: not os.fspath(path).endswith(("/sub", "/a")) and real(path, mode)
    )
    close(monkeypatch, "sub")
    found = [one for one in refusals(recipe / "recipes", job, disks=disks) if "site" in one]
    assert found == [f"5: {recipe}/site/a cannot be read", f"5: {recipe}/site/sub cannot be read"]
    _, problems = iodisk_inputs.items(["../site"], recipe / "recipes")
    assert [one.hint for one in problems] == ["chmod +r, or leave it out", "chmod +rx, or leave it out"]


def test_only_the_x_bit_of_a_source_is_taken(recipe: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (recipe / "site/a").chmod(0o600)
    (recipe / "site/sub/b").chmod(0o700)
    # A mount without exec, or another user's file.
    monkeypatch.setattr(os, "access", lambda _path, mode: not mode & os.X_OK)
    loaded = loader.load(recipe / "r.yaml", PROJECT)
    modes = {item.path: item.mode for item in overlay.file_items(loaded, "6.1") if item.source is not None}
    assert modes == {"/etc/site/a": 0o644, "/etc/site/sub/b": 0o755}


def test_check_notes_a_private_file_that_becomes_readable(recipe: Path) -> None:
    (recipe / "site/a").chmod(0o600)
    result = check.check([str(recipe / "r.yaml")])
    assert result["ok"]
    (note,) = result["recipes"][0]["notes"]
    assert note == (
        f"{recipe}/r.yaml:4:35: {recipe}/site/a is readable by the owner only, but has mode 0644 in the image"
        ' (set `mode`, such as "0600")'
    )
    assert f"note: {note}" in show.check(result)
    (recipe / "site/sub/b").chmod(0o700)
    (note,) = check.check([str(recipe / "r.yaml")])["recipes"][0]["notes"]
    assert f"{recipe}/site/a and 1 other file are readable by the owner only" in note
    (recipe / "r.yaml").write_text(RECIPE.replace("source: site", 'source: site, mode: "0600"'))
    assert check.check([str(recipe / "r.yaml")])["recipes"][0]["notes"] == []


def test_a_path_is_told_without_dots(recipe: Path) -> None:
    (recipe / "recipes").mkdir()
    (recipe / "recipes/r.yaml").write_text(RECIPE.replace("source: site", "source: ../elsewhere/x"))
    with pytest.raises(RoostError) as caught:
        loader.load(recipe / "recipes/r.yaml", PROJECT)
    assert caught.value.problems[0].hint == f"looked for {recipe}/elsewhere/x"
