"""`inv new` on a terminal: it asks, asks again after a wrong answer, and does not ask for what cannot be written."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import time
from pathlib import Path

import roost


def typed(project: Path, *answers: str) -> tuple[int, str]:
    """Answer the questions of `inv new sim` one by one; return its status and what the terminal showed."""
    near, far = pty.openpty()
    env = {
        **os.environ,
        "PYTHONPATH": str(Path(roost.__file__).parents[1]),
        "ROOST_ROOT": str(project),
        "TERM": "xterm",
    }
    argv = [sys.executable, "-P", "-m", "roost", "new", "sim"]
    shown, left, until = b"", list(answers), time.monotonic() + 60
    with subprocess.Popen(argv, stdin=far, stdout=far, stderr=far, env=env, cwd=project) as one:
        os.close(far)
        while time.monotonic() < until:
            if not select.select([near], [], [], 1)[0]:
                continue
            try:
                shown += os.read(near, 4096)
            except OSError:
                # The far end is closed: it has ended.
                break
            if shown.endswith(b"]: ") and left:
                os.write(near, f"{left.pop(0)}\n".encode())
        os.close(near)
    assert not left, shown.decode()
    return one.returncode, shown.decode()


def test_the_questions_are_asked_and_wrong_answers_told(tmp_path: Path) -> None:
    code, shown = typed(tmp_path, "fedora", "debian-13", "python3 g++", "", "much", "2GiB", "")
    assert code == 0, shown
    assert "--distribution fedora: one of debian-12" in shown and "'much' is not a size" in shown
    assert shown.count("distribution (") == 2 and "[256MiB]: " in shown
    recipe = (tmp_path / "recipes/sim.yaml").read_text()
    assert "trixie" in recipe and {"python3", "g++", "2GiB"} <= set(re.findall(r"[\w+]+", recipe))


def test_nothing_is_asked_where_the_recipe_exists(tmp_path: Path) -> None:
    (tmp_path / "recipes").mkdir()
    (tmp_path / "recipes/sim.yaml").touch()
    code, shown = typed(tmp_path)
    assert code == 2 and "sim.yaml exists" in shown and "distribution" not in shown


def test_no_answer_leaves_nothing(tmp_path: Path) -> None:
    code, shown = typed(tmp_path, "\x04")
    assert code == 2 and "every answer can be a flag" in shown
    assert not list(tmp_path.iterdir())
