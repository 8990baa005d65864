"""grub.cfg in a finished raw disk: where its bytes are, in a file system of ext2, ext3 or ext4.

Its blocks have no checksum there (linux, Documentation/filesystems/ext4, "Checksums"): as many other bytes in
their place is another grub.cfg.
"""

from __future__ import annotations

import re
from pathlib import Path
from uuid import UUID

from roost.disk import ext_superblock
from roost.disk.ext_space import target
from roost.disk.layout import SECTOR, Extent
from roost.errors import ImageError
from roost.host import jsontext, process

_DEADLINE = 60


def find(disk: Path, filesystem: UUID, path: str, log: Path) -> Extent | None:
    """Return the bytes of the disk that are the blocks of the file at `path`.

    None if there is no such file in a file system with this UUID, or if it is not in one piece.
    """
    for at in _partitions(disk, log):
        try:
            found = ext_superblock.read(disk, at)
        except ImageError:
            continue
        if found.uuid != filesystem:
            continue
        done = process.run(
            ["debugfs", "-R", f"blocks {path}", target(disk, at)],
            deadline=_DEADLINE,
            cwd=disk.parent,
            capture=True,
            log=log,
        )
        blocks = [int(word) for word in done.text.split() if re.fullmatch(r"[1-9]\d{0,15}", word)]
        if not blocks or blocks != list(range(blocks[0], blocks[0] + len(blocks))):
            return None
        return Extent(at.offset + blocks[0] * found.block, len(blocks) * found.block)
    return None


def _partitions(disk: Path, log: Path) -> list[Extent]:
    done = process.run(
        ["sfdisk", "--json", disk.name], deadline=_DEADLINE, cwd=disk.parent, capture=True, check=False, log=log
    )
    if done.returncode != 0:
        return []
    table = jsontext.loads(done.stdout)["partitiontable"]
    return [Extent(one["start"] * SECTOR, one["size"] * SECTOR) for one in table.get("partitions", [])]
