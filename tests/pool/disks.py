"""What is on a disk that came back: files of its ext file system, by qemu-img, sfdisk and debugfs instead of roost."""

from __future__ import annotations

import json
import subprocess
import tempfile
from pathlib import Path

#: The ext superblock's magic (0xEF53, little endian) stands 0x38 bytes into it; it begins 1024 bytes into the volume.
MAGIC_AT, MAGIC = 1024 + 0x38, b"\x53\xef"


def _call(*argv: str) -> bytes:
    return subprocess.run(argv, check=True, capture_output=True, timeout=300).stdout


def format_of(disk: Path) -> str:
    """Return the image's format as QEMU finds it, such as `qcow2`."""
    found: str = json.loads(_call("qemu-img", "info", "--output=json", str(disk)))["format"]
    return found


def _volumes(raw: Path) -> list[int]:
    """Return the byte offsets at which an ext file system may begin: the disk itself, then its partitions."""
    listed = subprocess.run(["sfdisk", "--json", str(raw)], capture_output=True, timeout=60, check=False)
    if listed.returncode != 0:
        return [0]
    table = json.loads(listed.stdout)["partitiontable"]
    return [0, *(part["start"] * table.get("sectorsize", 512) for part in table.get("partitions", []))]


def cat(disk: Path, path: str) -> bytes | None:
    """Return the content of a file on the first ext file system of a disk that has it, None if none has."""
    with tempfile.TemporaryDirectory(dir=disk.parent) as name:
        raw = disk
        if format_of(disk) != "raw":
            raw = Path(name) / "disk.raw"
            _call("qemu-img", "convert", "-O", "raw", str(disk), str(raw))
        for offset in _volumes(raw):
            with raw.open("rb") as file:
                file.seek(offset + MAGIC_AT)
                if file.read(2) != MAGIC:
                    continue
            volume = f"{raw}?offset={offset}"
            target = Path(name) / "content"
            _call("debugfs", "-R", f'dump "{path}" "{target}"', volume)
            if target.exists():
                return target.read_bytes()
    return None
