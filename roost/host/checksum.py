"""The sha256 of files: what manifests, keys, seals and releases compare."""

from __future__ import annotations

import hashlib
from pathlib import Path

from roost.host import files


def sha256(path: Path) -> str:
    """Return the sha256 of a regular file as hexadecimal; holes are read as zeros. Raises `OSError`."""
    with files.open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
