"""The script that starts a shell instead of a system: values that are not ours stay values."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

from roost.boot import plant
from roost.boot.plant import Terminal

HOSTILE = "/etc/a'; touch owned; echo '$(touch owned)`touch owned`"


def test_it_is_a_script_whatever_it_is_given(tmp_path: Path) -> None:
    text = plant.script("x'; touch owned", Terminal("xterm\ntouch owned", 0, 100_000), [HOSTILE, "/etc/fstab"])
    (tmp_path / "init").write_text(text)
    subprocess.run(["sh", "-n", "init"], cwd=tmp_path, check=True, timeout=20)
    if shellcheck := shutil.which("shellcheck"):
        subprocess.run([shellcheck, "-s", "sh", "-S", "error", "init"], cwd=tmp_path, check=True, timeout=60)
    assert "TERM=vt100" in text
    assert "stty rows 1 cols 999" in text
    # What is copied out is one word for the shell, whatever is in it.
    line = next(line for line in text.splitlines() if "touch owned; echo" in line and "cp -a" in line)
    probe = f'cp() {{ printf "%s" "$2"; }}; files=x; {line}'
    done = subprocess.run(["sh", "-c", probe], cwd=tmp_path, capture_output=True, text=True, check=True, timeout=20)
    assert done.stdout == HOSTILE
    assert not (tmp_path / "owned").exists()


@pytest.mark.parametrize("name", ["xterm-256color", "screen.linux", "vt100"])
def test_a_terminal_is_named(name: str) -> None:
    assert f"TERM={name} " in plant.script("x", Terminal(name, 24, 80))
