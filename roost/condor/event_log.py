"""A job event log, followed while HTCondor writes it: which job did what, and why. Bounded in all that it reads.

Shape: HTCondor manual, Job Event Log Codes: a head line `NNN (CLUSTER.PROC.SUBPROC) DATE TIME TEXT`, lines that
explain, and `...` alone at the end. Half an event at the end of the file is read when the rest is there.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from roost.host import files, safetext

RELEASED = "013"

#: Bytes of one event, and of what one call of `Follower.events` takes: an event has some 500.
EVENT, STEP = 64 << 10, 16 << 20
#: With and without EVENT_LOG_FORMAT_OPTIONS: 2026-11-26 17:47:13, 11/26 17:47:13, 11/26/26 17:47:13, a T, fractions.
_HEAD = re.compile(r"(\d{3}) \((-?\d{1,10})\.(-?\d{1,10})\.-?\d{1,10}\) (\d[\d/-]{3,9})[ T](\d\d:\d\d:\d\d)\S* ?(.*)")
_HOLD_CODE = re.compile(r"^\s*Code (\d{1,6}) Subcode (\d{1,9})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its number (`012`), the job's CLUSTER.PROC, when (None: not readable), and all its text."""

    number: str
    job: str
    when: datetime | None
    text: str

    @property
    def reason(self) -> str:
        """What HTCondor says beside the head, on one line, safe to show; without the numbers of a hold."""
        lines = [line.strip() for line in self.text.splitlines()[1:]]
        kept = [line for line in lines if line and not _HOLD_CODE.match(line) and line != "Reason unspecified"]
        return safetext.one_line(" ".join(kept))[:2000]


def parse(text: str) -> Event | None:
    """Return the event that a text is, without its end line; None when it is not about a job."""
    head = _HEAD.match(text)
    if head is None or int(head[2]) < 0:
        return None
    return Event(head[1], f"{int(head[2])}.{max(0, int(head[3]))}", _when(head[4], head[5]), text)


def _when(date: str, time: str) -> datetime | None:
    for form in ("%Y-%m-%d", "%m/%d/%y", "%m/%d"):
        try:
            # A date without its year: of this year.
            given = f"{date}/{datetime.now().year}" if form == "%m/%d" else date
            found = datetime.strptime(f"{given} {time}", f"{form if form != '%m/%d' else '%m/%d/%Y'} %H:%M:%S")
        except ValueError:
            continue
        return found
    return None


class Follower:
    """Reads the events that were added to a file since the last call; the file may not be there yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._left = b""

    def events(self) -> Iterator[Event]:
        """Yield what is new, at most `STEP` bytes of it. Raises `OSError` (see `files.open_regular`)."""
        for text in self._texts():
            event = parse(text)
            if event is not None:
                yield event

    def _texts(self) -> Iterator[str]:
        try:
            file = files.open_regular(self.path)
        except FileNotFoundError:
            return
        with file:
            if os.fstat(file.fileno()).st_size < self._at:
                # Begun anew: whoever did that took what was in it.
                self._at, self._left = 0, b""
            file.seek(self._at)
            data = file.read(STEP)
        self._at += len(data)
        data = self._left + data
        *whole, left = re.split(rb"^\.\.\.\r?\n", data, flags=re.MULTILINE)
        # What never ends is no event: its head alone is kept.
        self._left = left if len(left) <= EVENT else left[:EVENT]
        for one in whole:
            yield one[:EVENT].decode("utf-8", "replace")
