"""Tab completion, by the program's own answers and in a real bash."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from roost.cli import completion
from roost.cli.main import ns
from roost.errors import UsageError


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    (tmp_path / "recipes/base").mkdir(parents=True)
    for name in (
        "recipes/sim.yaml",
        "recipes/other.yaml",
        "recipes/note.txt",
        "recipes/base/one.yaml",
        "pyproject.toml",
    ):
        (tmp_path / name).write_text("")
    monkeypatch.setenv("ROOST_ROOT", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("-- build ''", {"other", "sim"}),
        ("-- build s", {"other", "sim"}),
        ("-- boot sim --hypervisor ''", {"kvm", "xen"}),
        ("-- boot --accel t", {"auto", "kvm", "tcg"}),
        ("-- submit sim --transfer ''", {"files", "shared"}),
        ("-- build sim --set ''", set()),
        ("-- lint ''", set()),
        ("-- build 'unfinished", set()),
    ],
)
def test_words(words: str, found: set[str], project: Path) -> None:
    assert set(completion.candidates(ns, words)) == found


def test_tasks_and_flags(project: Path) -> None:
    assert {"help", "build", "check-code"} <= set(completion.candidates(ns, "-- b"))
    assert set(completion.candidates(ns, "-- help ''")) >= {"build"}
    flags = completion.candidates(ns, "-- build sim --")
    assert {"--force", "--json", "--set"} <= set(flags)
    assert "--name" not in flags


def test_a_shell_that_is_not_known() -> None:
    with pytest.raises(UsageError, match="no completion for the shell 'tcsh'"):
        completion.script("tcsh")


def test_a_real_bash_completes(project: Path) -> None:
    """The last word is completed as readline would: the function is called with its variables set."""
    program = project / "inv"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -m roost "$@"\n')
    program.chmod(0o755)
    script = (
        completion.script("bash")
        + """
try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _roost; printf '%s\n' "${COMPREPLY[@]}" ---; }
try ./inv publ
try ./inv build si
try ./inv boot sim --hyp
try ./inv boot sim --hypervisor x
"""
    )
    done = subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, check=True, timeout=60, env={**os.environ}
    )
    assert done.stdout.split() == ["publish", "---", "sim", "---", "--hypervisor", "---", "xen", "---"]


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_the_script_of_another_shell_can_be_parsed(shell: str, tmp_path: Path) -> None:
    path = tmp_path / "script"
    path.write_text(completion.script(shell))
    try:
        done = subprocess.run([shell, "-n", str(path)], capture_output=True, text=True, check=False, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"needs {shell}")
    assert done.returncode == 0, done.stderr
