"""The process that runs libguestfs: started, called, and ended with everything it made.

This process never loads libguestfs. A hang, a crash or a kill ends the worker and its QEMU, and what they left in
temporary directories is removed.
"""

from __future__ import annotations

import base64
import contextlib
import importlib.util
import json
import os
import re
import select
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError, ToolError
from roost.host import paths, process, temporary

_WORKER = Path(__file__).with_name("guestfs_worker.py")
#: The directory of libguestfs' sockets: a path must stay under 108 bytes (unix(7)), so TMPDIR is ignored.
_SHORT = Path("/tmp")
_SYSTEM_PYTHONS = ("/usr/bin/python3", "/usr/libexec/platform-python")


class GuestfsError(ImageError):
    """libguestfs refused a call: no such file, not a file system, and so on."""


class Worker:
    """A running worker process with a deadline for all its work; `directory` is for its temporary files.

    `adopted` is when a restored appliance began to read the tables of its new disks, by time.monotonic.

    `ask` raises `GuestfsError` when libguestfs refuses, `ToolError` when it hangs or dies.
    """

    def __init__(self, worker: subprocess.Popen[bytes], log: Path, ends: float, directory: Path) -> None:
        self.directory = directory
        self.adopted: float | None = None
        self._worker = worker
        self._log = log
        self._ends = ends
        self._pending = b""

    def _line(self, ends: float) -> bytes:
        assert self._worker.stdout is not None
        descriptor = self._worker.stdout.fileno()
        while b"\n" not in self._pending:
            left = ends - time.monotonic()
            if left <= 0 or not select.select([descriptor], [], [], left)[0]:
                raise self._failed("libguestfs did not answer in time", None)
            data = os.read(descriptor, 1 << 20)
            if not data:
                raise self._failed("libguestfs' process ended", self._worker.wait())
            self._pending += data
        line, _, self._pending = self._pending.partition(b"\n")
        return line

    def _failed(self, what: str, returncode: int | None) -> ToolError:
        tail = ""
        with contextlib.suppress(OSError):
            tail = process.tail(self._log.read_bytes()[-16384:])
        return ToolError(what, argv=["libguestfs"], returncode=returncode, log=self._log, tail=tail)

    def ask(self, request: dict[str, Any], within: float | None = None) -> Any:
        """Send one request to the worker and return its result; `within` is in seconds."""
        assert self._worker.stdin is not None
        ends = self._ends if within is None else min(self._ends, time.monotonic() + within)
        try:
            self._worker.stdin.write(json.dumps(request).encode() + b"\n")
            self._worker.stdin.flush()
        except BrokenPipeError as error:
            raise self._failed("libguestfs' process ended", self._worker.wait()) from error
        answer = json.loads(self._line(ends))
        if "error" in answer:
            raise GuestfsError(f"libguestfs: {process.tail(str(answer['error']), 3)}", log=self._log)
        return _decoded(answer["result"])


def _decoded(value: Any) -> Any:
    if isinstance(value, dict):
        if value.keys() == {"base64"}:
            return base64.b64decode(value["base64"])
        return {key: _decoded(entry) for key, entry in value.items()}
    return [_decoded(entry) for entry in value] if isinstance(value, list) else value


def interpreter() -> str:
    """Return the Python that has libguestfs' module: this one, or the system's. Raises `HostError`."""
    if importlib.util.find_spec("guestfs") is not None:
        return sys.executable
    for python in _SYSTEM_PYTHONS:
        if Path(python).exists():
            found = process.run([python, "-c", "import guestfs"], deadline=20, check=False)
            if found.returncode == 0:
                return python
    raise HostError("libguestfs' Python module is not installed", hint="apt-get install python3-guestfs")


@contextmanager
def started(fixed: Path | None, accelerator: str, log: Path, ends: float, qemu: Path | None = None) -> Iterator[Worker]:
    """Yield a worker that has not opened any disk; it, its QEMU and their temporary files are gone afterwards.

    `qemu` is run instead of libguestfs' own.
    """
    cache = paths.cache_root() / "libguestfs"
    cache.mkdir(parents=True, exist_ok=True)
    _sweep()
    with temporary.directory("guestfs", _SHORT) as own:
        env = {
            "LIBGUESTFS_BACKEND": "direct",
            "LIBGUESTFS_BACKEND_SETTINGS": "" if accelerator == "kvm" else "force_tcg",
            "LIBGUESTFS_CACHEDIR": str(cache),
            "LIBGUESTFS_TMPDIR": str(own),
            "XDG_RUNTIME_DIR": str(own),
        }
        if fixed is not None:
            env["LIBGUESTFS_PATH"] = str(fixed)
        if qemu is not None:
            # Through a short path: libguestfs 1.48 puts it into a command for QEMU's monitor, and overflows the 256
            # bytes of that command's beginning (lib/command.c, add_string).
            (own / qemu.name).symlink_to(qemu)
            env["LIBGUESTFS_HV"] = str(own / qemu.name)
        left: list[Path] = []
        try:
            with process.spawn(
                [interpreter(), "-I", _WORKER], log=log, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE
            ) as worker:
                try:
                    yield Worker(worker, log, ends, own)
                    _end(worker, ends)
                finally:
                    left = _socket_directories(worker.pid)
        finally:
            for directory in left:
                shutil.rmtree(directory, ignore_errors=True)


def _end(worker: subprocess.Popen[bytes], ends: float) -> None:
    """Let the worker shut libguestfs down; the caller kills it if it does not end in time."""
    if worker.stdin is not None:
        with contextlib.suppress(BrokenPipeError):
            worker.stdin.close()
    with contextlib.suppress(subprocess.TimeoutExpired):
        worker.wait(min(30.0, max(0.0, ends - time.monotonic())))


def _socket_directories(session: int) -> list[Path]:
    """Return the socket directories of a worker's QEMU.

    For root they are in /tmp, and only a clean end removes them.
    """
    directories = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if os.getsid(int(entry.name)) == session:
                    words = (entry / "cmdline").read_bytes().decode("utf-8", "replace")
                    directories.update(re.findall(rf"path=({_SHORT}/libguestfs\w{{6}})/", words))
    return [Path(directory) for directory in directories]


def _sweep() -> None:
    """Remove root's libguestfs directories without a recorded owner, one hour after their last use.

    Those made by roost's workers are removed with the worker's directory (`temporary.ELSEWHERE`).
    """
    with contextlib.suppress(OSError):
        sockets = Path("/proc/net/unix").read_text()
        for directory in _SHORT.iterdir():
            if not re.fullmatch(r"libguestfs\w{6}", directory.name):
                continue
            with contextlib.suppress(OSError):
                status = directory.lstat()
                if status.st_uid != os.geteuid() or not directory.is_dir() or directory.is_symlink():
                    continue
                if time.time() - status.st_mtime > 3600 and str(directory) not in sockets:
                    shutil.rmtree(directory, ignore_errors=True)
