"""The cached results of accelerator probes, valid until the host reboots or QEMU or the device change."""

from __future__ import annotations

import hashlib
import json
import os
from contextlib import suppress
from pathlib import Path
from typing import Any

from roost.host import jsontext, paths
from roost.store.staging import write_atomically


def place(kind: str, program: str, device: Path) -> Path:
    """Return the file with the result for `kind`; it differs for another boot, QEMU, device or user."""
    binary, node = Path(program).stat(), device.stat()
    identity: list[Any] = [
        Path("/proc/sys/kernel/random/boot_id").read_text().strip(),
        [program, binary.st_size, binary.st_mtime_ns],
        [str(device), node.st_dev, node.st_ino, node.st_rdev, node.st_mode, node.st_uid, node.st_gid],
        os.geteuid(),
    ]
    name = hashlib.sha256(json.dumps(identity).encode()).hexdigest()[:24]
    return paths.cache_root() / "probe" / f"{kind}-{name}.json"


def recall(memory: Path) -> dict[str, Any] | None:
    """Return the cached result, or None."""
    try:
        known = jsontext.read(memory)
    except (OSError, ValueError):
        return None
    return known if isinstance(known, dict) else None


def remember(memory: Path, content: dict[str, Any]) -> None:
    """Cache a result; a cache that cannot be written is not an error."""
    with suppress(OSError):
        memory.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(memory, json.dumps(content, indent=1).encode() + b"\n")


def forget(memory: Path) -> None:
    """Remove the cached result."""
    with suppress(OSError):
        memory.unlink()
