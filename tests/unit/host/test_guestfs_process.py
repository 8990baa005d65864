"""What the worker of libguestfs is started with."""

from __future__ import annotations

import stat
import time
from pathlib import Path

import pytest

from roost.host import guestfs_process


def test_libguestfs_runs_a_program_of_a_long_path_by_a_short_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """libguestfs 1.48 writes beyond its memory otherwise (lib/command.c, add_string)."""
    program = tmp_path / ("x" * 200) / "qemu"
    program.parent.mkdir()
    program.touch()
    answers = tmp_path / "worker.py"
    answers.write_text(
        "import json, os\ninput()\n"
        'hv = os.environ["LIBGUESTFS_HV"]\nprint(json.dumps({"result": [hv, os.path.realpath(hv)]}))\n'
    )
    monkeypatch.setattr(guestfs_process, "_WORKER", answers)
    monkeypatch.setenv("ROOST_CACHE", str(tmp_path))
    with guestfs_process.started(None, "tcg", tmp_path / "log", time.monotonic() + 30, program) as worker:
        short, real = worker.ask({})
        assert len(short) < 50 and real == str(program)
        assert stat.S_ISLNK(Path(short).lstat().st_mode)
    assert not Path(short).exists() and program.exists()
