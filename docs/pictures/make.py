"""`python docs/pictures/make.py`: makes docs/pictures/run.svg from a real run, in a real terminal (tmux).

It builds, checks and boots the image `smoke`, in a project of its own with an empty build/, and draws what the terminal
shows at the end. Run it again when what roost says has changed; tests/unit/docs compares the words.
"""

from __future__ import annotations

import io
import os
import shlex
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

PROJECT = Path(__file__).resolve().parents[2]
PICTURE = Path(__file__).with_name("run.svg")
COLUMNS, LINES = 84, 60
#: What is typed; the last ends the recording.
CALLS = ("./inv build smoke", "./inv boot smoke")
DEADLINE = 900


def recorded(project: Path) -> str:
    """Return what a terminal shows after the calls, with its colours."""
    tmux = ["tmux", "-L", f"roost-picture-{os.getpid()}", "-f", "/dev/null"]
    script = project / "typed"
    lines = [f"printf '\\033[1m$ %s\\033[0m\\n' {shlex.quote(call)}; {call}; echo" for call in CALLS]
    script.write_text("\n".join([*lines, "touch done; exec sleep 1000"]) + "\n")
    size = ["-x", str(COLUMNS), "-y", str(LINES)]
    subprocess.run([*tmux, "new-session", "-d", *size, f"cd {shlex.quote(str(project))}; sh ./typed"], check=True)
    try:
        end = time.monotonic() + DEADLINE
        while not (project / "done").exists():
            if time.monotonic() > end:
                raise TimeoutError(f"nothing was recorded within {DEADLINE} s")
            time.sleep(0.5)
        time.sleep(0.5)
        captured = subprocess.run(
            [*tmux, "capture-pane", "-e", "-p", "-S", "-"], check=True, capture_output=True, text=True
        )
        return captured.stdout.rstrip()
    finally:
        subprocess.run([*tmux, "kill-server"], check=False)


def drawn(text: str) -> str:
    """Return the terminal as an SVG."""
    console = Console(record=True, width=COLUMNS, file=io.StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), highlight=False)
    return console.export_svg(title="roost", theme=MONOKAI, unique_id="roost")


def main() -> None:
    """Record and draw."""
    with tempfile.TemporaryDirectory() as directory:
        project = Path(directory) / "roost"
        project.mkdir()
        for name in ("recipes", "kernels"):
            shutil.copytree(PROJECT / name, project / name)
        call = f"PYTHONPATH={shlex.quote(str(PROJECT))} exec {sys.executable} -P -m roost"
        (project / "inv").write_text(f'#!/bin/sh\n{call} "$@"\n')
        (project / "inv").chmod(0o755)
        PICTURE.write_text(drawn(recorded(project)))


if __name__ == "__main__":
    main()
