"""Claims to a version: a file that only one publisher can create, and that exists while it writes.

A claim identifies the process and the files it writes. A publisher that was killed leaves its claim behind; one that
failed marks it as ended. Another publisher on the same host detects both and takes over; one on another host cannot
detect a killed process, so it waits or is told by `--take-over`. `inv gc` claims what it removes in the same way, and
lists in `_base/.removing.json` the shared bases that it removes, so that a publisher waits and sends them again.
"""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from roost.errors import HostError, ImageError
from roost.events import Events
from roost.host import jsontext
from roost.publish import layout
from roost.publish.targets.target import Target

#: Seconds between reads of another's claim, and the maximum wait for it.
INTERVAL = 0.3
PATIENCE = 1800.0
#: How often a file is created whose directory another process removes in between.
_ATTEMPTS = 100
#: The suffix of the file whose creator may take over a claim.
_TICKET = ".taken"


class TakenError(ImageError):
    """Another publisher, which may be alive, holds the claim."""


def path_of(name: str, version: str) -> str:
    """Return the path of the claim to a version."""
    return f"{name}/{layout.CLAIMS}/{version}.json"


def _started(pid: int) -> str | None:
    """Return the start time of a process (field 22 of proc(5)'s stat, in ticks since boot); None when it has ended."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        # A zombie has ended; its parent has not reaped it yet.
        return None if fields[0] in "ZX" else fields[19]
    except (OSError, IndexError):
        return None


def _host() -> str:
    """Return the identity of a process number space: the host, its boot, the PID namespace."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.stat("/proc/self/ns/pid").st_ino  # noqa: PTH116  (follows the link to the namespace)
    except OSError:
        boot, space = "", 0
    return f"{socket.gethostname()} {boot} {space}"


def _own(release_sha256: str, files: Sequence[str]) -> dict[str, Any]:
    pid = os.getpid()
    return {
        "host": _host(),
        "pid": pid,
        "started": _started(pid),
        "nonce": os.urandom(8).hex(),
        "release_sha256": release_sha256,
        "files": list(files),
    }


def parsed(claim: bytes) -> Mapping[str, Any]:
    """Return the contents of a claim; empty if it is not one: a claim appears atomically."""
    try:
        content = jsontext.loads(claim)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


def files_of(claim: bytes) -> list[str] | None:
    """Return the paths that a claim's holder writes or removes; None for an older roost, which did not record them."""
    files = parsed(claim).get("files")
    return [str(one) for one in files] if isinstance(files, list) else None


def dead(claim: bytes) -> bool:
    """Return whether the claim's process has ended, or marked the claim as ended; an invalid claim is dead, too."""
    content = parsed(claim)
    try:
        if content.get("ended") is True:
            return True
        return bool(content["host"] == _host() and _started(int(content["pid"])) != content["started"])
    except (ValueError, KeyError, TypeError):
        return True


class Claim:
    """A claim held by this process until it is released."""

    def __init__(self, target: Target, path: str, data: bytes) -> None:
        self._target, self._path, self._data = target, path, data

    def check(self) -> None:
        """Raise `ImageError` unless this process still holds the claim."""
        if self._target.read(self._path) != self._data:
            raise ImageError(
                "another publisher took over this version", hint="rerun the command: nothing was added to the catalogue"
            )


def _create(target: Target, path: str, data: bytes) -> bool:
    """Create a file among the claims, whose directory the end of another claim removes when it is empty."""
    for _ in range(_ATTEMPTS):
        with suppress(FileNotFoundError):
            return target.create(path, data)
    return target.create(path, data)


def _take_over(target: Target, path: str, dead_claim: bytes, own: bytes) -> bool:
    """Replace a dead claim by our own; return whether that succeeded.

    Of several processes, the one that creates the file named after the dead claim's checksum wins; the claim itself
    exists all the time. That file is a claim, too: if its creator was killed, it is taken over in the same way.
    """
    ticket = f"{path.removesuffix('.json')}.{layout.sha256(dead_claim)[:16]}{_TICKET}"
    if not _create(target, ticket, own):
        taker = target.read(ticket)
        if taker is None or not dead(taker) or not _take_over(target, ticket, taker, own):
            return False
    try:
        # An earlier take-over may already be complete.
        if target.read(path) != dead_claim:
            return False
        target.write(path, own)
        return True
    finally:
        target.remove(ticket)


def sweep(target: Target, directory: str) -> None:
    """Remove the files of killed take-overs from a directory of claims."""
    for name in target.names(directory):
        path = f"{directory}/{name}"
        ticket = target.read(path) if name.endswith(_TICKET) else None
        if ticket is not None and dead(ticket) and _take_over(target, path, ticket, layout.json_bytes(_own("", []))):
            target.remove(path)


@dataclass(frozen=True, slots=True)
class Wish:
    """Options of a claim: the `files` that its holder writes or removes, and how to treat another's claim.

    `take_over` means that another's publisher, possibly on another host, has ended; `patience` is in seconds, None
    for the default. `events` reports what is waited for.
    """

    events: Events
    files: Sequence[str] = ()
    take_over: bool = False
    patience: float | None = None


@contextmanager
def held(target: Target, name: str, version: str, release_sha256: str, wish: Wish) -> Iterator[Claim]:
    """Hold the claim to a version while the block runs; wait for a living publisher, take over from a dead one.

    Raises `TakenError` when another process holds it for longer than the patience.
    """
    path, listed = path_of(name, version), f"{name}/{version}/{layout.RELEASE}"
    content = _own(release_sha256, wish.files)
    _take(target, path, content, f"{name} {version}", wish)
    with _until_ended(target, path, content, listed) as claim:
        yield claim


@contextmanager
def removing(target: Target, wish: Wish) -> Iterator[Claim]:
    """Hold the right to remove shared bases; publishers neither send nor use them meanwhile."""
    path, content = f"{layout.BASES}/{layout.REMOVING}", _own("", wish.files)
    _take(target, path, content, "a shared base", wish)
    with _until_ended(target, path, content, None) as claim:
        yield claim


def await_removal(target: Target, path: str, events: Events, *, take_over: bool = False) -> None:
    """Wait while a shared base is being removed, so that afterwards it either stays or is gone."""
    where = f"{layout.BASES}/{layout.REMOVING}"
    end = time.monotonic() + PATIENCE
    reported = False
    while (holder := target.read(where)) is not None:
        files = files_of(holder)
        if files is not None and path not in files:
            return
        if take_over or dead(holder):
            # A dead process removes nothing more, and its successor checks our claim first.
            time.sleep(target.grace)
            return
        if not reported:
            events.note(f"{path} is being removed by inv gc: waiting")
            reported = True
        if time.monotonic() > end:
            raise TakenError(f"{path} is still being removed", hint="if that was killed on another host: --take-over")
        time.sleep(INTERVAL)


def _take(target: Target, path: str, content: Mapping[str, Any], what: str, wish: Wish) -> None:
    """Acquire the claim; `what` names its subject in messages."""
    own = layout.json_bytes(content)
    patience = PATIENCE if wish.patience is None else wish.patience
    take_over = wish.take_over
    end = time.monotonic() + patience
    reported = False
    while not _create(target, path, own):
        holder = target.read(path)
        if holder is None:
            continue
        if take_over or dead(holder):
            if _take_over(target, path, holder, own):
                wish.events.note(f"{what}: resuming where another publication ended")
                time.sleep(target.grace)
                break
            take_over = False
        elif not reported and patience:
            wish.events.note(f"{what} is being published or removed by another process: waiting")
            reported = True
        if time.monotonic() >= end:
            hint = "if it was killed on another host: --take-over"
            raise TakenError(f"{what} is still being published or removed by another process", hint=hint)
        time.sleep(min(INTERVAL, patience))


@contextmanager
def _until_ended(target: Target, path: str, content: Mapping[str, Any], listed: str | None) -> Iterator[Claim]:
    """Yield a held claim, and release it at the end of the block; `listed` is the last file of a publication."""
    own = layout.json_bytes(content)
    ended = False
    try:
        yield Claim(target, path, own)
        ended = True
    finally:
        # If the target became unreachable, that is already reported.
        with suppress(HostError):
            if target.read(path) == own:
                if ended or listed is None or target.size(listed) is not None:
                    target.remove(path)
                    directory = path.rpartition("/")[0]
                    if directory.endswith(f"/{layout.CLAIMS}"):
                        target.prune(directory)
                else:
                    # The version is incomplete: mark the claim as ended, so that it can be attributed and taken over.
                    target.write(path, layout.json_bytes({**content, "ended": True}))
