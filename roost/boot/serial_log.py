"""The log file of a console: bounded, with the beginning and the end of the output."""

from __future__ import annotations

from collections import deque
from pathlib import Path

#: Bytes of the beginning and of the end that are kept.
LOG_HEAD = 4 << 20
LOG_TAIL = 1 << 20


class SerialLog:
    """Writes a console's bytes to a file: the first LOG_HEAD and the last LOG_TAIL, however many there are."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open("wb")
        self._room = LOG_HEAD
        self._last: deque[bytes] = deque()
        self._kept = 0
        self._left_out = 0

    def write(self, data: bytes) -> None:
        """Append received data."""
        head, rest = data[: self._room], data[self._room :]
        self._file.write(head)
        self._room -= len(head)
        if rest:
            self._last.append(rest)
            self._kept += len(rest)
            while self._kept - len(self._last[0]) >= LOG_TAIL:
                dropped = len(self._last.popleft())
                self._kept -= dropped
                self._left_out += dropped

    def close(self) -> None:
        """Write the end, preceded by the number of missing bytes."""
        if self._left_out:
            self._file.write(f"\n[roost: {self._left_out} bytes left out]\n".encode())
        for data in self._last:
            self._file.write(data)
        self._last.clear()
        self._file.close()
