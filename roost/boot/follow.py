"""The guest's console on a terminal while it boots: clean lines, never waited for.

A terminal may be slow or stopped, and the test boot has deadlines: lines go through a bounded queue to a thread that
writes them. When the queue is full, lines are dropped and their number is reported.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from roost.boot.console import LINE, split
from roost.host.safetext import clean

#: Lines that can wait for the terminal, and seconds to wait for the last of them at the end.
WAITING = 20_000
PATIENCE = 5.0


class _Lines:
    """Splits a console's bytes into lines and passes them to a thread."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._rest = b""
        self._lost = 0
        self._lines: queue.Queue[str | None] = queue.Queue(WAITING)
        self._thread = threading.Thread(target=self._write, name="roost-console", daemon=True)
        self._thread.start()

    def feed(self, data: bytes) -> None:
        """Process received data; never waits."""
        lines, self._rest = split(self._rest + data)
        while len(self._rest) > LINE:
            lines.append(self._rest[:LINE])
            self._rest = self._rest[LINE:]
        for line in lines:
            for start in range(0, max(1, len(line)), LINE):
                self._put(clean(line[start : start + LINE]))

    def close(self) -> None:
        """Write the incomplete line, and wait briefly for the terminal."""
        if self._rest:
            self._put(clean(self._rest))
        with contextlib.suppress(queue.Full):
            self._lines.put(None, timeout=PATIENCE)
        self._thread.join(PATIENCE)

    def _put(self, text: str) -> None:
        try:
            if self._lost:
                self._lines.put_nowait(f"[{self._lost} lines left out]")
                self._lost = 0
            self._lines.put_nowait(text)
        except queue.Full:
            self._lost += 1

    def _write(self) -> None:
        # A closed terminal ends the copy, not the boot.
        with contextlib.suppress(OSError, ValueError):
            while (text := self._lines.get()) is not None:
                if text:
                    encoding = self._stream.encoding or "utf-8"
                    self._stream.write(text.encode(encoding, "replace").decode(encoding, "replace") + "\n")
                    self._stream.flush()


@contextmanager
def following(stream: TextIO | None) -> Iterator[Callable[[bytes], None] | None]:
    """Yield a function that shows a console's bytes on `stream`; None without a stream."""
    if stream is None:
        yield None
        return
    lines = _Lines(stream)
    try:
        yield lines.feed
    finally:
        lines.close()
