"""The order of the rooms is held: import-linter passes for the code, and fails for an import upwards or in a circle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from roost.store import closure

PROJECT = closure.PACKAGE.parent


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a copy of roost and of its contracts, to be changed."""
    root = tmp_path_factory.mktemp("project")
    shutil.copytree(closure.PACKAGE, root / "roost", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", root)
    return root


def _lint(root: Path) -> tuple[int, str]:
    script = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run(
        [script, "--no-logo", "--no-cache"],
        check=False, cwd=root, env={**os.environ, "PYTHONPATH": str(root)}, capture_output=True, text=True, timeout=200,
    )  # fmt: skip
    return done.returncode, done.stdout + done.stderr


def test_the_code_as_it_is_passes(copy: Path) -> None:
    status, said = _lint(copy)
    assert status == 0, said


@pytest.mark.parametrize(
    ("file", "imported", "contract"),
    [
        ("host/files.py", "roost.recipe.model", "Imports go one way"),
        ("publish/layout.py", "roost.catalogue.read", "Imports go one way"),
        ("boot/verdict.py", "roost.pipeline.boot", "Imports go one way"),
        ("condor/vm_disk.py", "roost.condor.lint", "No circles"),
    ],
)
def test_an_import_upwards_or_in_a_circle_fails(copy: Path, file: str, imported: str, contract: str) -> None:
    path = copy / "roost" / file
    text = path.read_text()
    # Inside of a function it counts too.
    path.write_text(f"{text}\n\ndef _upwards() -> None:\n    import {imported}\n")
    try:
        status, said = _lint(copy)
    finally:
        path.write_text(text)
    assert status == 1, said
    assert any(contract in line and "BROKEN" in line for line in said.splitlines()), said
