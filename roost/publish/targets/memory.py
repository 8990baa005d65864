"""A catalogue in this process's memory, for tests."""

from __future__ import annotations

import threading
from typing import Any, ClassVar

from roost.publish.targets.remote import Remote


class Memory(Remote):
    """memory://: within one process, so a lock makes `create` exclusive."""

    #: One instance per process, because it holds the files.
    options: ClassVar[dict[str, Any]] = {}

    _lock = threading.Lock()

    def create(self, path: str, data: bytes) -> bool:
        """Write a small file unless it exists."""
        with self._lock:
            if self._fs.exists(self._path(path)):
                return False
            self.write(path, data)
            return True
