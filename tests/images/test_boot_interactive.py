"""A person's console: a real terminal, a real guest; what was changed is thrown away, or kept beside the image."""

from __future__ import annotations

import fcntl
import hashlib
import os
import pty
import select
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from tests.images.broken import debugfs
from tests.images.calls import PROJECT, roost

#: Not in Python's termios: asm-generic/ioctls.h.
TIOCSPTLCK, TIOCGPTPEER = 0x40045431, 0x5441

pytestmark = [pytest.mark.images, pytest.mark.timeout(600)]


def _terminal() -> tuple[int, int]:
    """Return both ends of a terminal; in a chroot without /dev/pts of one that no other process could open."""
    try:
        return pty.openpty()
    except OSError:
        mount = 'mount --make-rprivate / 2>/dev/null; mount -t devpts -o newinstance,ptmxmode=0666 none "$0"'
        with (
            tempfile.TemporaryDirectory() as directory,
            subprocess.Popen(
                ["unshare", "--mount", "--propagation", "unchanged", "sh", "-c", f"{mount}; echo; exec cat", directory],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
            ) as holder,
        ):
            assert holder.stdout is not None
            holder.stdout.readline()
            near = os.open(f"/proc/{holder.pid}/root{directory}/ptmx", os.O_RDWR | os.O_NOCTTY)
            # ioctl_tty(2): unlock the far end, and open it without its name.
            fcntl.ioctl(near, TIOCSPTLCK, struct.pack("i", 0))
            far = fcntl.ioctl(near, TIOCGPTPEER, os.O_RDWR | os.O_NOCTTY)
            holder.kill()
        return near, far


def _at_a_terminal(*argv: str, typed: bytes = b"", after: bytes = b"", deadline: float = 300) -> tuple[int, bytes]:
    """Run roost on a terminal; type `typed` once `after` has been shown. Return its exit status, what was shown."""
    near, far = _terminal()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "roost", *argv], cwd=PROJECT, stdin=far, stdout=far, stderr=far, close_fds=True
    ) as process:
        os.close(far)
        shown, start = b"", time.monotonic()
        while time.monotonic() - start < deadline:
            if select.select([near], [], [], 1.0)[0]:
                try:
                    data = os.read(near, 65536)
                except OSError:
                    break
                if not data:
                    break
                shown += data
            if typed and after in shown:
                os.write(near, typed)
                typed = b""
        else:
            process.kill()
        os.close(near)
        return process.wait(30), shown


def _copy(smoke: Path, directory: Path) -> Path:
    for name in ("root.qcow2", "io.raw", "kvm.sub"):
        (directory / name).write_bytes((smoke / name).read_bytes())
    return directory / "kvm.sub"


def _sums(directory: Path) -> dict[str, str]:
    return {name: hashlib.sha256((directory / name).read_bytes()).hexdigest() for name in ("root.qcow2", "io.raw")}


def test_what_was_changed_is_kept_beside_the_image(smoke: Path, tmp_path: Path) -> None:
    description = _copy(smoke, tmp_path)
    before = _sums(tmp_path)
    status, shown = _at_a_terminal("boot", str(description), "--accel", "tcg", "--interactive", "--keep")
    assert status == 0, shown
    assert b"roost: job finished: exit 0" in shown
    kept = tmp_path / "kvm.kept"
    assert {path.name for path in kept.iterdir()} == {"root.qcow2", "io.raw", "kvm.sub"}
    assert debugfs(kept / "io.raw", "cat /output/result.txt").strip().endswith(b"42")
    assert _sums(tmp_path) == before, "the image stays as it was"
    again = roost("boot", str(description), "--accel", "tcg", "--interactive", "--keep")
    assert again.code == 2, "there is no terminal, or the directory is taken"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["io.raw", "kvm.kept", "kvm.sub", "root.qcow2"]


@pytest.mark.slow
def test_a_person_may_leave_at_any_time(smoke: Path, tmp_path: Path) -> None:
    description = _copy(smoke, tmp_path)
    before = _sums(tmp_path)
    status, shown = _at_a_terminal(
        "boot", str(description), "--accel", "tcg", "--interactive", typed=b"\x1d", after=b"Linux version"
    )
    assert status == 0, shown
    assert b"job started" not in shown
    assert _sums(tmp_path) == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["io.raw", "kvm.sub", "root.qcow2"]


def test_keep_without_a_console_is_refused(tmp_path: Path) -> None:
    ran = roost("boot", str(tmp_path / "kvm.sub"), "--keep")
    assert ran.code == 2
    assert "--interactive" in ran.err
