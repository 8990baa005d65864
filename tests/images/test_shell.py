"""`inv shell`: root in a throw-away machine, a file in, a file out, and an image that stays as it was."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest

from tests.images.test_boot_interactive import _at_a_terminal

pytestmark = [pytest.mark.images, pytest.mark.slow, pytest.mark.timeout(600)]


def test_a_root_shell_with_files_in_and_out(smoke: Path, tmp_path: Path) -> None:
    before = hashlib.sha256((smoke / "root.qcow2").read_bytes()).hexdigest()
    (tmp_path / "numbers.txt").write_text("40 2\n")
    code, shown = _at_a_terminal(
        *("shell", "smoke", "--accel", "tcg", "--in", str(tmp_path / "numbers.txt")),
        *("--out", f"/etc/hostname:{tmp_path / 'out'}"),
        typed=b"id -u; rm -rf /etc/roost; tr 4 5 <numbers.txt >$ROOST_OUTPUT/sum; exit\r",
        after=b"input# ",
    )
    assert code == 0, shown.decode(errors="replace")[-3000:]
    assert (tmp_path / "out/sum").read_text() == "50 2\n"
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["hostname", "sum"]
    assert hashlib.sha256((smoke / "root.qcow2").read_bytes()).hexdigest() == before
