"""Secrets that roost makes at their first use, such as a signing key: created once, for this user only."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path


def create_once(path: Path, make: Callable[[], bytes]) -> bool:
    """Create `path` (mode 0600) with what `make` returns, unless it exists; return whether it was created.

    If two processes create it at the same time, the first wins and both find the complete file. A link at `path` is
    never followed or replaced. Missing directories are created with mode 0700. Raises `OSError`.
    """
    if os.path.lexists(path):
        return False
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_name(f".{path.name}.{os.getpid()}-{os.urandom(6).hex()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(make())
            file.flush()
            os.fsync(file.fileno())
        # link(2) fails if the name exists, and does not follow it.
        os.link(draft, path)
    except FileExistsError:
        return False
    finally:
        with contextlib.suppress(FileNotFoundError):
            draft.unlink()
    return True
