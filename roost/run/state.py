"""The record of a run: an append-only file of JSON lines; an event counts once its line is in the file.

    {"event": "started", "job": "io-1", "time": 1764178800.0}
    {"event": "returned", "job": "io-1", "disk": …}             an `End`; only its disk remains to be examined
    {"event": "ended", "job": "io-1", "verdict": "done", …}     an `Outcome`; the job is never run again
    {"event": "cut off", "job": "io-2"}                         it was running when the run was interrupted
    {"event": "pool", …}                                        an executor's own event

A run that is killed leaves at most an incomplete last line, which the next run truncates. Several processes may write:
each line is one write under a lock. An executor's events are synced to disk before `write` returns, so that even a
power failure cannot make it submit twice.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import stat
import threading
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from roost.errors import ImageError
from roost.host import causes, files, jsontext

#: Size limit of a record in bytes; a job writes about 500.
LIMIT = 1 << 30
#: Size limit of a line in bytes.
LINE = 1 << 20
#: What to do about a record that cannot be read.
ANEW = "start again in another directory"
#: Events written by the run itself, not synced to disk: at worst, a job is run again.
_OWN = frozenset({"started", "returned", "ended", "cut off"})


class State:
    """The record of a run in a file; it is read once, and events written later are also kept in memory."""

    def __init__(self, path: Path) -> None:
        """Open or create the record. Raises `HostError` or `ImageError` when it cannot be read."""
        self.path = path
        self._guard = threading.RLock()
        self._starts: Counter[str] = Counter()
        self._running: set[str] = set()
        self._returned: dict[str, dict[str, Any]] = {}
        self._ended: dict[str, dict[str, Any]] = {}
        self._words: dict[str, list[dict[str, Any]]] = {}
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        try:
            self._descriptor = os.open(path, flags, 0o666)
            self._read()
        except OSError as error:
            raise causes.unreadable(path, error) from error

    def close(self) -> None:
        """Close the file."""
        with self._guard:
            if self._descriptor >= 0:
                os.close(self._descriptor)
                self._descriptor = -1

    def _read(self) -> None:
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise files.UnfitFileError(errno.EINVAL, f"{files.kind(status.st_mode)}, not a file")
        if status.st_size > LIMIT:
            raise files.UnfitFileError(errno.EFBIG, f"larger than {files.size_in_words(LIMIT)}")
        with self._locked(), open(self._descriptor, "rb", closefd=False) as file:
            good = 0
            for number, line in enumerate(iter(lambda: file.readline(LINE), b""), 1):
                if not line.endswith(b"\n"):
                    # The last write was interrupted by a kill or a full disk, so the event does not count.
                    os.ftruncate(self._descriptor, good)
                    break
                good += len(line)
                try:
                    self._take(jsontext.load_object(line))
                except (ValueError, KeyError, TypeError) as error:
                    # Only a ValueError is in words for the user.
                    why = str(error) if isinstance(error, ValueError) else "a key is missing, or of another type"
                    what = f"{self.path}:{number} is not a line of a run's state: {why}"
                    raise ImageError(what, hint=ANEW) from error

    def _take(self, record: dict[str, Any]) -> None:
        event, job = str(record["event"]), record.get("job")
        if event == "started":
            self._starts[str(job)] += 1
            self._running.add(str(job))
            self._returned.pop(str(job), None)
            self._ended.pop(str(job), None)
        elif event == "returned":
            self._running.discard(str(job))
            self._returned[str(job)] = record
        elif event == "ended":
            self._running.discard(str(job))
            self._returned.pop(str(job), None)
            self._ended[str(job)] = record
        elif event not in _OWN:
            self._words.setdefault(event, []).append(record)

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        with self._guard:
            fcntl.lockf(self._descriptor, fcntl.LOCK_EX)
            try:
                yield
            finally:
                fcntl.lockf(self._descriptor, fcntl.LOCK_UN)

    def write(self, event: str, job: str | None = None, **more: Any) -> None:
        """Write one line. Raises `HostError` when that fails; the file is then unchanged."""
        record = {"event": event, **({} if job is None else {"job": job}), "time": round(time.time(), 3), **more}
        data = json.dumps(record, separators=(",", ":")).encode() + b"\n"
        if len(data) > LINE:
            raise ValueError(f"a line of {len(data)} bytes")
        try:
            with self._locked():
                end = os.fstat(self._descriptor).st_size
                try:
                    written = os.write(self._descriptor, data)
                    if written != len(data):
                        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
                    if event not in _OWN:
                        os.fdatasync(self._descriptor)
                except BaseException:
                    with contextlib.suppress(OSError):
                        os.ftruncate(self._descriptor, end)
                    raise
                self._take(record)
        except OSError as error:
            raise causes.unwritable(self.path, error) from error

    @property
    def empty(self) -> bool:
        """Whether nothing has happened yet: no job was started or handed over."""
        with self._guard:
            return not self._starts and not self._words

    def starts(self, job: str) -> int:
        """Return how often a job was started."""
        with self._guard:
            return self._starts[job]

    def running(self) -> frozenset[str]:
        """Return the jobs that were started and have not ended; those of a killed run were cut off."""
        with self._guard:
            return frozenset(self._running)

    def returned(self) -> Mapping[str, Mapping[str, Any]]:
        """Return how jobs left their executor, for those whose disks were not examined yet."""
        with self._guard:
            return dict(self._returned)

    def ended(self, job: str) -> Mapping[str, Any] | None:
        """Return the recorded outcome of a job, or None."""
        with self._guard:
            return self._ended.get(job)

    def words(self, event: str) -> tuple[Mapping[str, Any], ...]:
        """Return the events of one kind recorded by an executor, in order."""
        with self._guard:
            return tuple(self._words.get(event, ()))
