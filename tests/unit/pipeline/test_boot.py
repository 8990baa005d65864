"""A boot of an image whose recipe has changed since its build: a note, or what the build lacks, never both."""

from __future__ import annotations

from pathlib import Path

import pytest

from roost.errors import RecipeError
from roost.events import Silent
from roost.pipeline import boot
from tests.publish import lab


class Notes(Silent):
    """Events that keep the notes."""

    def __init__(self) -> None:
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        """Keep a note."""
        self.notes.append(text)


def changed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, line: str) -> None:
    """Build a recipe, and add a line at the end of its disks."""
    monkeypatch.setenv("ROOST_ROOT", str(lab.project(tmp_path)))
    lab.built(tmp_path)
    recipe = tmp_path / "recipes/smoke.yaml"
    recipe.write_text(recipe.read_text().replace("\nmachine:", f"\n{line}\nmachine:"))


def test_a_disk_that_the_recipe_has_only_since_the_build_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changed(tmp_path, monkeypatch, "  - {name: data, format: raw, size: 16MiB, filesystem: ext4}")
    events = Notes()
    with pytest.raises(RecipeError, match=r"no data\.raw, which kvm needs: the recipe changed since the build"):
        boot.image(lab.load(tmp_path), events=events)
    assert events.notes == []


def test_any_other_change_of_the_recipe_is_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    changed(tmp_path, monkeypatch, "locale: de_DE.UTF-8")
    loaded, events = lab.load(tmp_path), Notes()
    boot.bootable(loaded, "kvm", events)
    assert events.notes == ["the recipe of smoke changed since the build: this boots what was built"]
