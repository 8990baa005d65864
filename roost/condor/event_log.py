"""Follow a job event log while HTCondor writes it. Everything read is bounded.

Format (HTCondor manual, Job Event Log Codes): a head line `NNN (CLUSTER.PROC.SUBPROC) DATE TIME TEXT`, detail
lines, and a line `...` at the end. An incomplete event at the end of the file is read once it is complete.
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

#: Size limits in bytes: of one event (typically 500), and of the data read by one call of `Follower.events`.
EVENT, STEP = 64 << 10, 16 << 20
#: Timestamps with and without EVENT_LOG_FORMAT_OPTIONS: 2026-11-26 17:47:13, 11/26 17:47:13, 11/26/26 17:47:13,
#: with a T, with fractions.
_HEAD = re.compile(r"(\d{3}) \((-?\d{1,10})\.(-?\d{1,10})\.-?\d{1,10}\) (\d[\d/-]{3,9})[ T](\d\d:\d\d:\d\d)\S* ?(.*)")
_HOLD_CODE = re.compile(r"^\s*Code (\d{1,6}) Subcode (\d{1,9})", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Event:
    """One event: its number (`012`), the job's CLUSTER.PROC, its time (None: unreadable), and its full text."""

    number: str
    job: str
    when: datetime | None
    text: str

    @property
    def reason(self) -> str:
        """The event's text after the head, on one line, safe to print, without the codes of a hold."""
        lines = [line.strip() for line in self.text.splitlines()[1:]]
        kept = [line for line in lines if line and not _HOLD_CODE.match(line) and line != "Reason unspecified"]
        return safetext.one_line(" ".join(kept))[:2000]


def parse(text: str) -> Event | None:
    """Return the event in a text that excludes its end line, or None when it is not about a job."""
    head = _HEAD.match(text)
    if head is None or int(head[2]) < 0:
        return None
    return Event(head[1], f"{int(head[2])}.{max(0, int(head[3]))}", _when(head[4], head[5]), text)


def _when(date: str, time: str) -> datetime | None:
    for form in ("%Y-%m-%d", "%m/%d/%y", "%m/%d"):
        try:
            # A date without a year belongs to the current year.
            given = f"{date}/{datetime.now().year}" if form == "%m/%d" else date
            found = datetime.strptime(f"{given} {time}", f"{form if form != '%m/%d' else '%m/%d/%Y'} %H:%M:%S")
        except ValueError:
            continue
        return found
    return None


class Follower:
    """Reads the events added to a file since the last call; the file may not exist yet."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._at = 0
        self._left = b""

    def events(self) -> Iterator[Event]:
        """Yield new events, from at most `STEP` bytes. Raises `OSError` (see `files.open_regular`)."""
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
                # The file was truncated: read it from the start.
                self._at, self._left = 0, b""
            file.seek(self._at)
            data = file.read(STEP)
        self._at += len(data)
        data = self._left + data
        *whole, left = re.split(rb"^\.\.\.\r?\n", data, flags=re.MULTILINE)
        # An event without an end is cut to its size limit.
        self._left = left if len(left) <= EVENT else left[:EVENT]
        for one in whole:
            yield one[:EVENT].decode("utf-8", "replace")
