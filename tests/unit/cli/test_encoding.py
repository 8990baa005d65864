"""Locales whose encoding is not UTF-8: files and their names still are, and what cannot be shown is escaped."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = """\
name: gruss
description: Schöne Grüße
os: {debian: {suite: bookworm}}
disks:
  - {name: root, partitions: [{mount: /, free: 64MiB}]}
files: [{path: /etc/größe, source: "größe.txt"}, {path: /etc/gruss, template: gruß.j2}]
"""
POSIX = {"LC_ALL": "POSIX", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}


def call(directory: Path, *words: str, **more: str) -> subprocess.CompletedProcess[bytes]:
    # Names are UTF-8 here, whatever the locale of the tests.
    argv = [sys.executable.encode(), b"-P", b"-m", b"roost", *(word.encode() for word in words)]
    env = {name: value for name, value in os.environ.items() if not name.startswith("LC_")}
    return subprocess.run(
        argv, cwd=directory, env={**env, **POSIX, **more}, capture_output=True, timeout=60, check=False
    )


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    place = tmp_path / "Maß"
    place.mkdir()
    for name, text in (("gruß.yaml", RECIPE), ("größe.txt", "1\n"), ("gruß.j2", "ß {{ recipe.description }}\n")):
        (place / name).write_text(text, encoding="utf-8")
    return place


def test_names_and_texts_are_utf_8(directory: Path, tmp_path: Path) -> None:
    done = call(tmp_path, "check", "Maß/gruß.yaml", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["recipes"][0]["name"] == "Maß/gruß.yaml"
    done = call(tmp_path, "check", "--resolved", "Maß/gruß.yaml", "--json")
    assert [one["value"] for one in json.loads(done.stdout)["values"] if one["key"] == "description"] == [
        "Schöne Grüße"
    ]


def test_what_the_terminal_cannot_show_is_escaped(directory: Path, tmp_path: Path) -> None:
    (directory / "gruß.yaml").write_text(RECIPE + "länge: 3\n", encoding="utf-8")
    done = call(tmp_path, "check", "Maß/gruß.yaml")
    assert done.returncode == 2 and done.stdout.startswith(rb"Ma\xdf/gru\xdf.yaml:7:1: unknown key 'l\xe4nge'")
    done = call(tmp_path, "check", "nichts-für-uns")
    assert done.returncode == 2 and rb"nichts-f\xfcr-uns" in done.stdout


@pytest.mark.parametrize(
    "words", [("catalogue", "--from", "Maß"), ("diff", "gruß"), ("explain", "Grüße"), ("new", "für/x")]
)
def test_no_task_calls_it_a_bug(words: tuple[str, ...], directory: Path, tmp_path: Path) -> None:
    done = call(tmp_path, *words)
    assert done.returncode in (0, 1, 2) and b"a bug in roost" not in done.stdout + done.stderr


def test_what_the_user_chose_for_the_output_stays(directory: Path, tmp_path: Path) -> None:
    done = call(tmp_path, "check", "nichts-für-uns", PYTHONIOENCODING="utf-8")
    assert "nichts-für-uns".encode() in done.stdout


def test_an_option_of_python_is_no_loop(directory: Path, tmp_path: Path) -> None:
    argv = [sys.executable, "-X", "utf8=0", "-P", "-m", "roost", "--version"]
    done = subprocess.run(argv, env={**os.environ, **POSIX}, capture_output=True, timeout=30, check=False)
    assert done.returncode == 0
