"""Who is writing a version: a file that only one publisher can create, there as long as the writing takes.

A publisher that was killed leaves its claim behind. Another on the same host sees that the process is gone and takes
over; one elsewhere cannot see it, and waits or is told to say so (`--take-over`).
"""

from __future__ import annotations

import json
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError
from roost.events import Events
from roost.publish import layout
from roost.publish.target import Target

#: Seconds between two looks at another's claim, and how long it is waited for.
INTERVAL = 0.3
PATIENCE = 1800.0


def _started(pid: int) -> str | None:
    """Return when a process started (field 22 of proc(5)'s stat, in ticks since boot); None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A zombie has ended; only its parent has not asked yet.
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None


def _host() -> str:
    """Return what tells one set of process numbers from another: the host, its boot, the namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (follows the link to the namespace)
    except OSError:
        boot, space = "", 0
    return f"{socket.gethostname()} {boot} {space}"


def _own(release_sha256: str) -> bytes:
    pid = os.getpid()
    return layout.json_bytes(
        {
            "host": _host(),
            "pid": pid,
            "started": _started(pid),
            "nonce": os.urandom(8).hex(),
            "release_sha256": release_sha256,
        }
    )


def _dead(claim: bytes) -> bool:
    """Return whether the claim's process is known to be gone."""
    try:
        said: dict[str, Any] = json.loads(claim)
        return bool(said["host"] == _host() and _started(int(said["pid"])) != said["started"])
    except (ValueError, KeyError, TypeError):
        # Nobody wrote it: a claim appears whole.
        return True


class Claim:
    """A claim that is ours until it is released."""

    def __init__(self, target: Target, path: str, data: bytes) -> None:
        self._target, self._path, self._data = target, path, data

    def check(self) -> None:
        """Raise `ImageError` unless the claim is still ours."""
        if self._target.read(self._path) != self._data:
            raise ImageError("another publisher took this version over", hint="run it again: nothing was listed")


@contextmanager
def held(
    target: Target, name: str, version: str, release_sha256: str, events: Events, *, take_over: bool = False
) -> Iterator[Claim]:
    """Hold the claim to a version while the block runs; wait for a living publisher, take over from a dead one."""
    path = f"{name}/{layout.CLAIMS}/{version}.json"
    own = _own(release_sha256)
    end = time.monotonic() + PATIENCE
    told = False
    while not target.create(path, own):
        there = target.read(path)
        if there is None:
            continue
        if take_over or _dead(there):
            events.note(f"{name} {version}: going on where another publication ended")
            target.remove(path)
            take_over = False
            continue
        if not told:
            events.note(f"{name} {version} is being published by another: waiting")
            told = True
        if time.monotonic() > end:
            hint = "if it was killed on another host: --take-over"
            raise ImageError(f"{name} {version} is still being published by another", hint=hint)
        time.sleep(INTERVAL)
    claim = Claim(target, path, own)
    try:
        yield claim
    finally:
        # A place that cannot be reached any more has said so already.
        with suppress(HostError):
            if target.read(path) == own:
                target.remove(path)
