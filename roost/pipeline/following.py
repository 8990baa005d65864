"""Follows the log of an installation while it grows, and reports its progress: packages and downloaded bytes.

The installing tools (apt, dpkg under mmdebstrap) have no other progress output; their output is untrusted, so it is
only counted. The installing modules do not depend on this one, nor do their keys.
"""

from __future__ import annotations

import contextlib
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from roost.events import Events

#: The stage that is followed, seconds between two polls, and the most bytes read by one poll.
STAGE, EVERY, MOST = "bootstrap", 0.5, 1 << 20
#: apt's line for a package that it fetches (apt-private/acqprogress.cc), and dpkg's for each that it installs.
_FETCHED = re.compile(rb"^Get:\d+ .*\[(?P<size>[\d.,]+) (?P<unit>[kMG]?B)\]$", re.MULTILINE)
_UNPACKED = re.compile(rb"^(?:Unpacking|Extracting) \S", re.MULTILINE)
_CONFIGURED = re.compile(rb"^Setting up \S", re.MULTILINE)
#: hooks/setup's line for packages that are already unpacked and configured.
_THERE = re.compile(rb"^I: roost: (?P<packages>\d{1,6}) packages are there$", re.MULTILINE)
_UNITS = {b"B": 1, b"kB": 1000, b"MB": 1000**2, b"GB": 1000**3}


@dataclass
class Seen:
    """The counts in a log so far: packages fetched, their bytes, packages unpacked and configured."""

    fetched: int = 0
    size: float = 0.0
    unpacked: int = 0
    configured: int = 0

    def take(self, data: bytes) -> None:
        """Process whole lines."""
        for one in _FETCHED.finditer(data):
            self.fetched += 1
            with contextlib.suppress(ValueError):
                self.size += float(one["size"].replace(b",", b"")) * _UNITS[one["unit"]]
        if present := _THERE.search(data):
            # Whether that was just now or in an earlier build: the count continues from there.
            self.unpacked = self.configured = int(present["packages"])
            data = data[present.end() :]
        self.unpacked += len(_UNPACKED.findall(data))
        self.configured += len(_CONFIGURED.findall(data))

    def words(self, packages: int) -> str:
        """Return the progress of an installation of so many packages; empty while unknown."""
        for count, verb in ((self.configured, "configured"), (self.unpacked, "unpacked")):
            if count:
                # Essential packages are unpacked twice.
                return f"{min(count, packages)} of {packages} packages {verb}"
        return f"{self.fetched} packages fetched, {self.size / (1 << 20):.1f} MiB" if self.fetched else ""


@contextmanager
def installation(log: Path, packages: int, events: Events) -> Iterator[None]:
    """Report the progress of installing `packages` packages, logged to `log`, while the block runs."""
    ended = threading.Event()
    begin = log.stat().st_size if log.exists() else 0

    def follow() -> None:
        seen, at, last = Seen(), begin, ""
        while not ended.wait(EVERY):
            with contextlib.suppress(OSError):
                at += _take(log, at, seen)
            if (words := seen.words(packages)) and words != last:
                last = words
                events.doing(STAGE, words)
                events.progress(STAGE, min(seen.unpacked, packages) + min(seen.configured, packages), 2 * packages)

    follower = threading.Thread(target=follow, name="roost-follow", daemon=True)
    follower.start()
    try:
        yield
    finally:
        ended.set()
        follower.join()


def _take(log: Path, at: int, seen: Seen) -> int:
    """Read the whole lines after an offset of the log; return their bytes. A short incomplete line is left."""
    with log.open("rb") as file:
        file.seek(at)
        data = file.read(MOST)
    whole = data.rfind(b"\n") + 1 or (len(data) if len(data) == MOST else 0)
    seen.take(data[:whole])
    return whole
